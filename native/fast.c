/* The fast way of a log call: no LogRecord is made, the record is written into the buffer of the producer at once.
 *
 * It is open where the record would meet one LogbusHandler on its way to the root logger, NullHandlers apart, and no
 * filter. Attributes are read as Python reads them, so a subclass may have properties where logging has plain values.
 * Any of them, and the text of any argument, may run Python code which logs, or changes what was read before: all that
 * is used behind such a call is held by a reference of this call's own, and fields are looked at again. */
#include "native.h"

static PyObject *n_filters, *n_handlers, *n_propagate, *n_parent, *n_level, *n_producer, *n_emit, *n_clock;

static const lb_text texts[] = {
    {&n_filters, "filters"},
    {&n_handlers, "handlers"},
    {&n_propagate, "propagate"},
    {&n_parent, "parent"},
    {&n_level, "level"},
    {&n_producer, "producer"},
    {&n_emit, "emit"},
    {&n_clock, LB_CLOCK},
};

/* Loggers above one another, at most, that are gone through here. */
#define DEPTH 64

int lb_add_fast(PyObject *Py_UNUSED(module))
{
    return LB_INTERN(texts);
}

/* ── small questions ───────────────────────────────────────────────────────────────────────────────────────────── */

int lb_flag(PyObject *dict, PyObject *name)
{
    PyObject *found = PyDict_GetItemWithError(dict, name);
    if (found == Py_True)
        return 1;
    if (found == Py_False)
        return 0;
    return found != NULL && PyLong_CheckExact(found) ? PyObject_IsTrue(found) : -1;
}

/* Whether a dict has an empty list by this name; -1 where that is no list. */
static int is_empty(PyObject *dict, PyObject *name)
{
    PyObject *found = PyDict_GetItemWithError(dict, name);
    return found != NULL && PyList_CheckExact(found) ? PyList_GET_SIZE(found) == 0 : -1;
}

int lb_is_plain(PyObject *value)
{
    return PyUnicode_CheckExact(value) || PyLong_CheckExact(value) || value == Py_None || PyBool_Check(value) ||
           PyFloat_CheckExact(value);
}

/* ── fields ────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* Whether the names of the fields are those that the place had last. */
static int has_usual_names(PyObject *fields, PyObject *usual)
{
    PyObject *key, *value;
    Py_ssize_t at = 0, number = 0;
    if (PyList_GET_SIZE(usual) != PyDict_GET_SIZE(fields))
        return 0;
    while (PyDict_Next(fields, &at, &key, &value)) {
        PyObject *other = PyList_GET_ITEM(usual, number++);
        if (key != other && (!PyUnicode_CheckExact(key) || PyUnicode_Compare(key, other) != 0))
            return 0;
    }
    return 1;
}

int lb_take_names(PyObject *fields, PyObject *site)
{
    if (has_usual_names(fields, PyList_GET_ITEM(site, LB_KEYS)))
        return 1;
    PyObject *keys = PyDict_Keys(fields);
    if (keys == NULL) {
        PyErr_Clear();
        return 0;
    }
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(keys); at++) {
        PyObject *key = PyList_GET_ITEM(keys, at);
        if (!PyUnicode_CheckExact(key) || PySet_Contains(lb_known.not_extra, key) != 0) {
            PyErr_Clear();
            Py_DECREF(keys);
            return 0;
        }
    }
    PyList_SetItem(site, LB_KEYS, keys);
    return 1;
}

/* Bytes (estimated) that the fields take; -1 where one does not travel as it is. */
static Py_ssize_t weigh(PyObject *fields)
{
    PyObject *key, *value;
    Py_ssize_t at = 0, size = lb_known.field_bytes * PyDict_GET_SIZE(fields);
    while (PyDict_Next(fields, &at, &key, &value)) {
        if (PyUnicode_CheckExact(value))
            size += lb_sizeof_str(value);
        else if (!lb_is_plain(value))
            return -1;
    }
    return size;
}

/* ── the handler ───────────────────────────────────────────────────────────────────────────────────────────────── */

/* Looks through the handlers of one logger for ours, of which there may be one (`ours`, a new reference). */
static lb_way look_through(PyObject *handlers, PyObject **ours)
{
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(handlers); at++) {
        PyObject *handler = Py_NewRef(PyList_GET_ITEM(handlers, at));
        int is_ours = lb_is_ours(handler);
        if (is_ours > 0 && *ours == NULL) {
            *ours = handler;
            continue;
        }
        int nothing = is_ours == 0 && lb_does_nothing(handler);
        Py_DECREF(handler);
        if (!nothing)
            return is_ours < 0 ? LB_PYTHON : LB_LEAN;
    }
    return LB_DONE;
}

/* The one handler that a record of this logger meets, if that is one of ours: LB_DONE and a new reference. */
static lb_way only_ours(const lb_call *call, PyObject **ours)
{
    PyObject *at = Py_NewRef(call->logger), *own = Py_NewRef(call->own);
    lb_way found = LB_DONE;
    for (int depth = 0;; depth++) {
        PyObject *handlers = PyDict_GetItemWithError(own, n_handlers);
        if (handlers == NULL || !PyList_CheckExact(handlers) || depth == DEPTH) {
            found = LB_PYTHON;
            break;
        }
        if (PyList_GET_SIZE(handlers)) {
            Py_INCREF(handlers);
            found = look_through(handlers, ours);
            Py_DECREF(handlers);
            if (found != LB_DONE)
                break;
        }
        int on = lb_flag(own, n_propagate);
        PyObject *parent = on > 0 ? PyDict_GetItemWithError(own, n_parent) : Py_None;
        if (on < 0 || parent == NULL) {
            found = LB_PYTHON;
            break;
        }
        if (parent == Py_None)
            break;
        Py_INCREF(parent);
        Py_SETREF(at, parent);
        /* Another class of loggers may read its attributes in other ways, or have a truth of its own. */
        PyObject *next = lb_untouched(Py_TYPE(at)) & LB_SIMPLE ? PyObject_GenericGetDict(at, NULL) : NULL;
        if (next == NULL) {
            found = LB_PYTHON;
            break;
        }
        Py_SETREF(own, next);
    }
    Py_DECREF(at);
    Py_DECREF(own);
    return found == LB_DONE && *ours == NULL ? LB_LEAN : found;
}

/* What takes records of one level from a handler: LB_DONE, and the `emit` of its producer (a reference). */
static lb_way emit_of(PyObject *handler, PyObject *level, PyObject **emit)
{
    PyObject *own = PyObject_GenericGetDict(handler, NULL);
    if (own == NULL)
        return LB_PYTHON;
    int unfiltered = is_empty(own, n_filters);
    PyObject *from = PyDict_GetItemWithError(own, n_level);
    int low = from != NULL && PyLong_CheckExact(from) ? PyObject_RichCompareBool(from, level, Py_LE) : -1;
    PyObject *producer = PyDict_GetItemWithError(own, n_producer);
    lb_way found = LB_PYTHON;
    if (low >= 0 && unfiltered >= 0 && producer != NULL) {
        found = LB_LEAN;
        if (unfiltered && low) {
            Py_INCREF(producer);
            *emit = PyObject_GetAttr(producer, n_emit);
            Py_DECREF(producer);
            found = *emit == NULL ? LB_PYTHON : LB_DONE;
        }
    }
    Py_DECREF(own);
    return found;
}

/* Whether the producer of the only handler on the way gets the call as it is: LB_DONE, and its `emit` (a reference). */
static lb_way find_emit(const lb_call *call, PyObject **emit)
{
    if (PyList_GET_ITEM(call->site, LB_PLACE) == Py_None || !PyUnicode_CheckExact(call->message))
        return LB_LEAN;
    int unfiltered = is_empty(call->own, n_filters);
    if (unfiltered <= 0)
        return unfiltered < 0 ? LB_PYTHON : LB_LEAN;
    if (PyDict_GET_SIZE(lb_known.cleaners)) {
        int cleaned = PyDict_Contains(lb_known.cleaners, PyList_GET_ITEM(call->site, LB_NAME));
        if (cleaned != 0)
            return cleaned < 0 ? LB_RAISED : LB_LEAN;
    }
    PyObject *handler = NULL;
    lb_way found = only_ours(call, &handler);
    if (found == LB_DONE)
        found = emit_of(handler, call->level, emit);
    Py_XDECREF(handler);
    return found;
}

/* ── into the buffer ───────────────────────────────────────────────────────────────────────────────────────────── */

/* Writes the fields of a call, and adds what they take (estimated) to `size`; unusual ones, and names that the place
 * has not had last, are LB_UNUSUAL. */
static lb_outcome write_usual(lb_writer *writer, PyObject *fields, PyObject *usual, Py_ssize_t *size)
{
    PyObject *key, *value;
    Py_ssize_t at = 0, number = 0, count = PyDict_GET_SIZE(fields);
    if (PyList_GET_SIZE(usual) != count)
        return LB_UNUSUAL;
    lb_outcome outcome = lb_write_map(writer, count);
    *size += lb_known.field_bytes * count;
    while (outcome == LB_WRITTEN && PyDict_Next(fields, &at, &key, &value)) {
        if (key != PyList_GET_ITEM(usual, number++))
            return LB_UNUSUAL;
        outcome = lb_write_str(writer, key);
        if (outcome != LB_WRITTEN)
            break;
        if (PyUnicode_CheckExact(value))
            *size += lb_sizeof_str(value);
        outcome = lb_write_scalar(writer, value);
    }
    return outcome;
}

/* Writes the fields of a call together with those that are active; a record's own win. */
static lb_outcome write_fields(lb_writer *writer, PyObject *own, PyObject *around)
{
    if (around == NULL)
        return own == NULL ? lb_write_nil(writer) : lb_write_fields(writer, own);
    if (own == NULL)
        return lb_write_fields(writer, around);
    PyObject *key, *value;
    Py_ssize_t at = 0, entries = PyDict_GET_SIZE(own);
    while (PyDict_Next(around, &at, &key, &value))
        entries += PyDict_GetItemWithError(own, key) == NULL;
    lb_outcome outcome = lb_write_map(writer, entries);
    for (at = 0; outcome == LB_WRITTEN && PyDict_Next(around, &at, &key, &value);) {
        PyObject *nearer = PyDict_GetItemWithError(own, key);
        outcome = lb_write_str(writer, key);
        if (outcome == LB_WRITTEN)
            outcome = lb_write_scalar(writer, nearer != NULL ? nearer : value);
    }
    for (at = 0; outcome == LB_WRITTEN && PyDict_Next(own, &at, &key, &value);) {
        if (PyDict_GetItemWithError(around, key) != NULL)
            continue;
        outcome = lb_write_str(writer, key);
        if (outcome == LB_WRITTEN)
            outcome = lb_write_scalar(writer, value);
    }
    return outcome;
}

/* One record, and what stands around it: the active fields, a logbus.producers.context.Active or None. */
typedef struct {
    PyObject *emit;
    double created;
    PyObject *place; /* a logbus.producers.producer.Site */
    PyObject *thread;
    PyObject *text;
    PyObject *extra; /* an exact dict, or NULL */
    PyObject *scope;
    Py_ssize_t size;
} record;

/* Hands a record over as objects: to what stands in the place of a buffer's put(), or to that. */
static int emit_objects(const record *this)
{
    /* A copy: whose the dict is can't be told from here. */
    PyObject *fields = this->extra == NULL ? Py_NewRef(Py_None) : PyDict_Copy(this->extra);
    PyObject *nested = Py_NewRef(Py_None), *created = PyFloat_FromDouble(this->created);
    PyObject *size = PyLong_FromSsize_t(this->size), *joined = NULL, *done = NULL;
    if (fields == NULL || created == NULL || size == NULL)
        goto end;
    PyObject *given[] = {created, this->place, this->thread, this->text, fields, nested, Py_None, size};
    if (this->scope != Py_None) {
        joined = PyObject_CallFunctionObjArgs(lb_known.add_context, fields, nested, size, this->scope, NULL);
        if (joined == NULL || !PyArg_ParseTuple(joined, "OOO", &given[4], &given[5], &given[7]))
            goto end;
    }
    done = PyObject_Vectorcall(this->emit, given, 8, NULL);
end:
    Py_XDECREF(fields);
    Py_DECREF(nested);
    Py_XDECREF(created);
    Py_XDECREF(size);
    Py_XDECREF(joined);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Whether what is active can be written as it is: `around` gets its fields, and `size` their bytes. */
static int is_flat(PyObject *scope, PyObject **around, Py_ssize_t *size)
{
    if (scope == Py_None)
        return 1;
    if (!PyTuple_CheckExact(scope) || PyTuple_GET_SIZE(scope) != 3 || PyTuple_GET_ITEM(scope, 1) != Py_None)
        return 0;
    PyObject *fields = PyTuple_GET_ITEM(scope, 0);
    Py_ssize_t more = PyLong_AsSsize_t(PyTuple_GET_ITEM(scope, 2));
    if (more < 0 || more > lb_known.usual_bytes) {
        PyErr_Clear();
        return 0;
    }
    if (fields != Py_None) {
        if (!PyDict_CheckExact(fields))
            return 0;
        *around = PyDict_GET_SIZE(fields) ? fields : NULL;
    }
    *size += more;
    return 1;
}

/* Hands a record to the producer; 0, or -1 with an exception. */
static int emit(const record *this)
{
    PyObject *buffer = lb_buffer_of(this->emit), *around = NULL;
    Py_ssize_t size = this->size;
    if (buffer == NULL || !is_flat(this->scope, &around, &size))
        return emit_objects(this);
    lb_writer *writer = lb_begin();
    lb_outcome outcome = lb_write_str(writer, this->text);
    if (outcome == LB_WRITTEN)
        outcome = write_fields(writer, this->extra, around);
    if (outcome == LB_WRITTEN)
        outcome = lb_write_nil(writer); /* nothing nested */
    if (outcome == LB_WRITTEN)
        outcome = lb_write_nil(writer); /* no exception */
    if (outcome == LB_WRITTEN)
        return lb_put_written(buffer, this->created, this->place, this->thread, size);
    return outcome == LB_ERROR ? -1 : emit_objects(this);
}

/* ── the way ───────────────────────────────────────────────────────────────────────────────────────────────────── */

/* Whether the text of an argument may be made by others' code. */
static int asks(const lb_call *call)
{
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(call->arguments); at++)
        if (!lb_is_plain(PyTuple_GET_ITEM(call->arguments, at)))
            return 1;
    return 0;
}

/* The message with its arguments, an exact str; NULL with an exception. */
static PyObject *format(const lb_call *call)
{
    if (PyTuple_GET_SIZE(call->arguments) == 0)
        return Py_NewRef(call->message);
    PyObject *text = PyUnicode_Format(call->message, call->arguments);
    if (text != NULL && !PyUnicode_CheckExact(text)) /* an only argument's text, of a class of its own */
        Py_SETREF(text, PyUnicode_FromObject(text));
    return text;
}

/* The fields of a call now: the text of an argument may change them. NULL: none. */
static PyObject *fields_of(const lb_call *call)
{
    return call->extra != NULL && PyDict_GET_SIZE(call->extra) ? call->extra : NULL;
}

/* Whether the fields travel as they are; `size` gets their bytes. */
static int look(const lb_call *call, Py_ssize_t *size)
{
    PyObject *fields = fields_of(call);
    *size = fields == NULL ? 0 : lb_take_names(fields, call->site) ? weigh(fields) : -1;
    return *size >= 0;
}

/* Takes a record whose fields are looked at while they are written, without a scope. LB_PYTHON: that was not all, and
 * nothing has happened. */
static lb_way write_at_once(const record *this, const lb_call *call)
{
    PyObject *buffer = lb_buffer_of(this->emit);
    if (buffer == NULL || this->scope != Py_None)
        return LB_PYTHON;
    Py_ssize_t size = this->size;
    PyObject *fields = fields_of(call);
    lb_writer *writer = lb_begin();
    lb_outcome outcome = lb_write_str(writer, this->text);
    if (outcome == LB_WRITTEN)
        outcome = fields == NULL ? lb_write_nil(writer)
                                 : write_usual(writer, fields, PyList_GET_ITEM(call->site, LB_KEYS), &size);
    if (outcome == LB_WRITTEN)
        outcome = lb_write_nil(writer); /* nothing nested */
    if (outcome == LB_WRITTEN)
        outcome = lb_write_nil(writer); /* no exception */
    if (outcome == LB_UNUSUAL || size > lb_known.usual_bytes)
        return LB_PYTHON;
    if (outcome == LB_WRITTEN && lb_put_written(buffer, this->created, this->place, this->thread, size) == 0)
        return LB_DONE;
    return lb_forgive() ? LB_LEAN : LB_RAISED;
}

/* As lb_go_fast(), from the time of the record on. */
static lb_way send(lb_call *call, PyObject *to)
{
    Py_ssize_t fields;
    int asked = asks(call);
    /* Looked at before, too: what is not for here should not be asked for its text twice. */
    if (asked && !look(call, &fields))
        return LB_LEAN;
    record this = {
        .emit = to,
        .created = (double)lb_now() / 1e9,
        .place = PyList_GET_ITEM(call->site, LB_PLACE),
        .text = format(call),
    };
    if (this.text == NULL)
        return lb_forgive() ? LB_LEAN : LB_RAISED; /* whoever handles the record says what is wrong */
    lb_way found = LB_RAISED;
    if (PyContextVar_Get(lb_known.context, Py_None, &this.scope) < 0 || (this.thread = lb_thread_name(NULL)) == NULL)
        goto end;
    this.size = lb_known.entry_bytes + lb_sizeof_str(this.text);
    found = asked ? LB_PYTHON : write_at_once(&this, call);
    if (found != LB_PYTHON)
        goto end;
    found = LB_LEAN;
    if (!look(call, &fields) || this.size + fields > lb_known.usual_bytes)
        goto end;
    this.size += fields;
    this.extra = fields_of(call);
    found = emit(&this) == 0 ? LB_DONE : lb_forgive() ? LB_LEAN : LB_RAISED;
end:
    Py_DECREF(this.text);
    Py_XDECREF(this.scope);
    Py_XDECREF(this.thread);
    return found;
}

lb_way lb_go_fast(lb_call *call)
{
    PyObject *to = NULL, *clock = PyDict_GetItemWithError(lb_known.time, n_clock);
    if (clock == NULL || clock != lb_known.clock) /* another clock: a test's */
        return LB_PYTHON;
    lb_way found = find_emit(call, &to);
    if (found == LB_DONE)
        found = send(call, to);
    Py_XDECREF(to);
    return found;
}
