/* LogbusHandler.handle: a record of the standard library, made plain and handed to the producer, as
 * logbus.producers.take does it.
 *
 * The usual record is served here: one whose place the handler knows, with logging's attributes in logging's order and
 * plain fields behind them. Whatever is not usual is left to the Python before anything has happened. What the record
 * holds is read in one pass over its dict (read()); what is found is borrowed from that dict, so nothing that could
 * run Python code (an attribute, an object that the garbage collector tracks, the message of any object) comes between
 * a pass and the last use of what it has found: such things come first, or they are followed by another pass.
 *
 * Where the producer's `emit` is the put() of a compiled buffer the record is written for it at once. Else (behind a
 * flight recorder or the look at the current span, before there is a buffer, for what can't be written) `emit` is
 * called with just what the Python would give it. */
#include "native.h"

/* Attributes that a LogRecord has in any version of Python, and fields of a record, that are served here. */
#define MOST_ATTRIBUTES 32
#define MOST_FIELDS 48

/* Attributes that are looked at, the parts of a site (logbus.producers.producer.Site) first and in their order. */
enum { NAME, LEVELNO, LEVELNAME, MODULE, FUNCNAME, LINENO, MSG, ARGS, CREATED, EXC_INFO, EXC_TEXT, STACK_INFO,
       THREADNAME, LOOKED_AT };
#define SITE_PARTS 6

static const char *const attribute_names[LOOKED_AT] = {
    "name", "levelno", "levelname", "module", "funcName", "lineno", "msg", "args", "created", "exc_info", "exc_text",
    "stack_info", "threadName",
};

/* What logbus.producers.take knows, for as long as the interpreter lives. */
static PyTypeObject *handler_type, *record_type;
static PyObject *own_emit;    /* Taker.emit: what is done here */
static PyObject *standard;    /* names of a LogRecord's attributes, in their order: a tuple */
static PyObject *not_extra;   /* names that are no fields: a frozenset */
static PyObject *context;     /* the context variable */
static PyObject *add_context; /* logbus.producers.context.add_context */
static Py_ssize_t entry_bytes, field_bytes, usual_bytes;
static int place_of[LOOKED_AT]; /* where each stands in `standard` */
static unsigned verified[2];    /* versions of types that were found to be served, the last one first; 0: none */

static PyObject *emit_name, *filters_name, *places_name, *producer_name, *unusual_name, *rescue_name, *sizeof_name;

/* What one pass over a record's dict finds; all is borrowed. */
typedef struct {
    PyObject *attributes[MOST_ATTRIBUTES];
    PyObject *keys[MOST_FIELDS];
    PyObject *values[MOST_FIELDS];
    Py_ssize_t fields;
    Py_ssize_t bytes; /* of the texts among the values */
} parts;

#define ATTRIBUTE(found, which) ((found)->attributes[place_of[which]])

/* ── what is looked at before anything else ────────────────────────────────────────────────────────────────────── */

/* Whether instances of a class do what is done here: it has Taker.emit, and what is read from an instance is the
 * instance's own. The version of a type is no other's, and changes with each of its attributes and those of its bases. */
static int is_served(PyTypeObject *type)
{
    int versioned = type->tp_version_tag != 0;
#if PY_VERSION_HEX < 0x030D0000
    versioned = versioned && PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG);
#endif
    if (versioned && (type->tp_version_tag == verified[0] || type->tp_version_tag == verified[1]))
        return 1;
    if (type->tp_getattro != PyObject_GenericGetAttr || !PyType_IsSubtype(type, handler_type))
        return 0;
    /* The look-ups give it a version, if it had none. */
    PyObject *const names[] = {emit_name, filters_name, places_name}, *const expected[] = {own_emit, NULL, NULL};
    int served = 1;
    for (int i = 0; i < 3; i++) /* as for an instance: a property may hide from those who ask its class */
        served = served && _PyType_Lookup(type, names[i]) == expected[i];
    if (served) {
        verified[1] = verified[0];
        verified[0] = type->tp_version_tag;
    }
    return served;
}

/* The places that a handler knows (a new reference), where it lets each record pass and each method is its class's;
 * else NULL. */
static PyObject *places_of(PyObject *handler)
{
    PyObject *own = PyObject_GenericGetDict(handler, NULL), *places = NULL;
    if (own != NULL && PyDict_CheckExact(own)) {
        PyObject *filters = PyDict_GetItemWithError(own, filters_name);
        if (filters != NULL && PyList_CheckExact(filters) && PyList_GET_SIZE(filters) == 0 &&
            PyDict_GetItemWithError(own, emit_name) == NULL && !PyErr_Occurred()) {
            places = PyDict_GetItemWithError(own, places_name);
            if (places != NULL && PyDict_CheckExact(places))
                Py_INCREF(places);
            else
                places = NULL;
        }
    }
    Py_XDECREF(own);
    return places;
}

static int is_plain(PyObject *value)
{
    return PyUnicode_CheckExact(value) || PyLong_CheckExact(value) || value == Py_None || PyFloat_CheckExact(value) ||
           PyBool_Check(value);
}

/* ── one pass ──────────────────────────────────────────────────────────────────────────────────────────────────── */

/* Logging's attributes, which must be all there, in logging's order; 0 where they are not usual. */
static int read_attributes(PyObject *record, Py_ssize_t *at, parts *found)
{
    Py_ssize_t count = PyTuple_GET_SIZE(standard);
    PyObject *key;
    for (Py_ssize_t i = 0; i < count; i++)
        if (!PyDict_Next(record, at, &key, &found->attributes[i]) || key != PyTuple_GET_ITEM(standard, i))
            return 0;
    PyObject *args = ATTRIBUTE(found, ARGS), *exc_info = ATTRIBUTE(found, EXC_INFO),
             *thread = ATTRIBUTE(found, THREADNAME);
    return PyUnicode_CheckExact(ATTRIBUTE(found, MSG)) && PyFloat_CheckExact(ATTRIBUTE(found, CREATED)) &&
           (args == Py_None || PyTuple_CheckExact(args) || PyDict_CheckExact(args)) &&
           (exc_info == Py_None || exc_info == Py_False) && ATTRIBUTE(found, EXC_TEXT) == Py_None &&
           ATTRIBUTE(found, STACK_INFO) == Py_None && PyUnicode_CheckExact(thread) &&
           PyUnicode_GET_LENGTH(thread) != 0;
}

/* The place of a record (borrowed), or NULL. `key` is an empty tuple for its site; it is asked for with exact types
 * only, whose comparison runs nothing. */
static PyObject *find_place(PyObject *places, PyObject *key, const parts *found)
{
    for (int i = 0; i < SITE_PARTS; i++) {
        PyObject *part = ATTRIBUTE(found, i);
        if (i == LEVELNO || i == LINENO ? !PyLong_CheckExact(part) : !PyUnicode_CheckExact(part))
            return NULL;
        PyTuple_SET_ITEM(key, i, Py_NewRef(part));
    }
    PyObject *place = PyDict_GetItemWithError(places, key);
    if (place == NULL || !PyTuple_CheckExact(place) || PyTuple_GET_SIZE(place) != 3 ||
        !PyList_CheckExact(PyTuple_GET_ITEM(place, 1)) || !PyList_CheckExact(PyTuple_GET_ITEM(place, 2)))
        return NULL;
    return place;
}

/* What stands behind logging's attributes: mostly the names that the place had before, in their order. 0 where they
 * are not usual, or to be remembered. */
static int read_fields(PyObject *record, Py_ssize_t *at, PyObject *place, parts *found)
{
    PyObject *names = PyTuple_GET_ITEM(place, 1), *fields = PyTuple_GET_ITEM(place, 2), *key, *value;
    Py_ssize_t name = PyTuple_GET_SIZE(standard), known = PyList_GET_SIZE(names), field = 0, count = 0, bytes = 0;
    int as_before = 1;
    while (PyDict_Next(record, at, &key, &value)) {
        PyObject *expected = as_before && name < known ? PyList_GET_ITEM(names, name) : NULL;
        int is_field;
        if (key != expected) {
            if (!PyUnicode_CheckExact(key))
                return 0;
            if (expected == NULL || !PyUnicode_CheckExact(expected) || PyUnicode_Compare(key, expected) != 0)
                as_before = 0;
        }
        if (as_before) {
            is_field = field < PyList_GET_SIZE(fields) && PyList_GET_ITEM(fields, field) == expected;
            field += is_field;
            name++;
        } else {
            int contained = PySet_Contains(not_extra, key);
            if (contained < 0)
                return 0;
            is_field = !contained;
        }
        if (!is_field)
            continue;
        if (count == MOST_FIELDS || !is_plain(value))
            return 0;
        if (PyUnicode_CheckExact(value))
            bytes += lb_sizeof_str(value);
        found->keys[count] = key;
        found->values[count++] = value;
    }
    int behind = PyDict_GET_SIZE(record) > PyTuple_GET_SIZE(standard);
    if (behind && (!as_before || name != known) && PyList_GET_SIZE(fields) == 0)
        return 0; /* the Python remembers them for its place */
    found->fields = count;
    found->bytes = bytes;
    return 1;
}

/* ── on its way ────────────────────────────────────────────────────────────────────────────────────────────────── */

/* What is active in the context, told apart: 0 where it can't be written together with the record's own fields. */
static int tell_apart(PyObject *scope, const parts *found, PyObject **scalars, Py_ssize_t *size)
{
    *scalars = NULL;
    if (scope == Py_None)
        return 1;
    if (!PyTuple_CheckExact(scope) || PyTuple_GET_SIZE(scope) != 3 || PyTuple_GET_ITEM(scope, 1) != Py_None)
        return 0;
    PyObject *fields = PyTuple_GET_ITEM(scope, 0);
    Py_ssize_t more = PyLong_AsSsize_t(PyTuple_GET_ITEM(scope, 2));
    if (more == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    *size += more;
    if (fields == Py_None)
        return 1;
    if (!PyDict_CheckExact(fields))
        return 0;
    for (Py_ssize_t i = 0; i < found->fields; i++) /* the record's own win, in the place of those outside */
        if (PyDict_Contains(fields, found->keys[i]) != 0) {
            PyErr_Clear();
            return 0;
        }
    *scalars = fields;
    return 1;
}

/* Message, extra, nested and exception, for lb_put_written(). */
static lb_outcome write_record(PyObject *message, PyObject *scalars, const parts *found)
{
    lb_writer *writer = lb_begin();
    Py_ssize_t outside = scalars == NULL ? 0 : PyDict_GET_SIZE(scalars), at = 0;
    PyObject *key, *value;
    lb_outcome outcome = lb_write_str(writer, message);
    if (outcome == LB_WRITTEN)
        outcome = outside + found->fields ? lb_write_map(writer, outside + found->fields) : lb_write_nil(writer);
    while (outcome == LB_WRITTEN && outside && PyDict_Next(scalars, &at, &key, &value)) {
        outcome = lb_write_str(writer, key);
        if (outcome == LB_WRITTEN)
            outcome = lb_write_scalar(writer, value);
    }
    for (Py_ssize_t i = 0; outcome == LB_WRITTEN && i < found->fields; i++) {
        outcome = lb_write_str(writer, found->keys[i]);
        if (outcome == LB_WRITTEN)
            outcome = lb_write_scalar(writer, found->values[i]);
    }
    return outcome == LB_WRITTEN ? lb_write_raw(writer, "\xC0\xC0", 2) : outcome; /* nil and nil */
}

/* As the Python calls it. `extra` is an empty dict of the call's own. 0, or -1 with an exception. */
static int call_emit(PyObject *emit, PyObject *created, PyObject *site, PyObject *thread, PyObject *message,
                     PyObject *extra, PyObject *scope, Py_ssize_t size, const parts *found)
{
    for (Py_ssize_t i = 0; i < found->fields; i++)
        if (PyDict_SetItem(extra, found->keys[i], found->values[i]) < 0)
            return -1;
    PyObject *own = found->fields ? extra : Py_None, *number = PyLong_FromSsize_t(size), *all = NULL, *done = NULL;
    /* What was read is borrowed, and what follows runs Python code. */
    Py_INCREF(created);
    Py_INCREF(thread);
    PyObject *room[9] = {NULL, created, site, thread, message, own, Py_None, Py_None, number}, **args = room + 1;
    if (number != NULL && scope != Py_None) {
        all = PyObject_CallFunctionObjArgs(add_context, own, Py_None, number, scope, NULL);
        if (all != NULL && PyArg_ParseTuple(all, "OOO", &args[4], &args[5], &args[7]))
            done = PyObject_Vectorcall(emit, args, 8 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    } else if (number != NULL) {
        done = PyObject_Vectorcall(emit, args, 8 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    }
    Py_DECREF(created);
    Py_DECREF(thread);
    Py_XDECREF(number);
    Py_XDECREF(all);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* ── the method ────────────────────────────────────────────────────────────────────────────────────────────────── */

/* How a step went: the record is on its way; nothing has happened, and the Python is to do it all; the Python is to
 * take it as unusual, whose message was made already; an exception came out of a step. */
typedef enum { DONE, PYTHON, UNUSUAL, RAISED } outcome;

/* What is known of a call after its first pass: the Python, too, looks at these before it makes the message. */
typedef struct {
    PyObject *message;
    PyObject *created;
    PyObject *place;
    Py_ssize_t size; /* of the message */
} call;

/* Keeps what is to be known of the call, and makes its message, which may run Python code: then the next pass has to
 * read what has become of the rest. */
static outcome make_message(call *known, PyObject *place, const parts *found)
{
    PyObject *format = Py_NewRef(ATTRIBUTE(found, MSG)), *args = Py_NewRef(ATTRIBUTE(found, ARGS));
    known->place = Py_NewRef(place);
    known->created = Py_NewRef(ATTRIBUTE(found, CREATED));
    Py_ssize_t given = args == Py_None ? 0 : PyObject_Size(args);
    known->message = given ? PyUnicode_Format(format, args) : Py_NewRef(format);
    Py_DECREF(format);
    Py_DECREF(args);
    if (known->message == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return RAISED;
        PyErr_Clear();
        return UNUSUAL;
    }
    if (PyUnicode_CheckExact(known->message)) {
        known->size = lb_sizeof_str(known->message);
        return DONE;
    }
    /* What a __str__() returned, as it is. */
    PyObject *size = PyObject_CallMethodNoArgs(known->message, sizeof_name);
    known->size = size == NULL ? -1 : PyLong_AsSsize_t(size);
    Py_XDECREF(size);
    return PyErr_Occurred() ? RAISED : DONE;
}

static int runs_nothing(PyObject *args)
{
    if (args == Py_None)
        return 1;
    if (!PyTuple_CheckExact(args))
        return 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++)
        if (!is_plain(PyTuple_GET_ITEM(args, i)))
            return 0;
    return 1;
}

/* One pass with all that belongs to it; another one is needed where `again` is set. */
static outcome pass(PyObject *handler, PyObject *record, PyObject *places, call *known, int *writable, int *again)
{
    parts found;
    outcome result = known->message == NULL ? PYTHON : RAISED; /* where an exception ends it */
    PyObject *producer = NULL, *emit = NULL, *scope = NULL, *key = NULL, *extra = NULL;
    producer = PyObject_GetAttr(handler, producer_name);
    emit = producer == NULL ? NULL : PyObject_GetAttr(producer, emit_name);
    if (emit == NULL || PyContextVar_Get(context, Py_None, &scope) < 0)
        goto end;
    PyObject *buffer = *writable ? lb_buffer_of(emit) : NULL;
    if ((known->place == NULL && (key = PyTuple_New(SITE_PARTS)) == NULL) ||
        (buffer == NULL && (extra = PyDict_New()) == NULL))
        goto end;
    /* From here on nothing runs Python code, until the message of foreign objects is made or the record leaves. */
    Py_ssize_t at = 0;
    result = PYTHON;
    if (!read_attributes(record, &at, &found))
        goto end;
    PyObject *place = known->place == NULL ? find_place(places, key, &found) : known->place;
    if (place == NULL || !read_fields(record, &at, place, &found))
        goto end;
    if (known->message == NULL) {
        int foreign = !runs_nothing(ATTRIBUTE(&found, ARGS));
        result = make_message(known, place, &found);
        if (result != DONE)
            goto end;
        if (foreign) {
            *again = 1;
            goto end;
        }
    }
    Py_ssize_t size = entry_bytes + known->size + found.bytes + field_bytes * found.fields;
    PyObject *site = PyTuple_GET_ITEM(known->place, 0), *thread = ATTRIBUTE(&found, THREADNAME), *scalars;
    result = UNUSUAL;
    if (size > usual_bytes)
        goto end;
    if (buffer != NULL) {
        Py_ssize_t all = size;
        lb_outcome written = LB_UNUSUAL;
        if (tell_apart(scope, &found, &scalars, &all))
            written = write_record(known->message, scalars, &found);
        if (written == LB_UNUSUAL) {
            *writable = 0;
            *again = 1;
            goto end;
        }
        result = DONE;
        if (written == LB_ERROR ||
            lb_put_written(buffer, PyFloat_AS_DOUBLE(known->created), site, thread, all) < 0)
            result = RAISED;
    } else {
        result = DONE;
        if (call_emit(emit, known->created, site, thread, known->message, extra, scope, size, &found) < 0)
            result = RAISED;
    }
end:
    Py_XDECREF(producer);
    Py_XDECREF(emit);
    Py_XDECREF(scope);
    Py_XDECREF(key);
    Py_XDECREF(extra);
    return result;
}

static PyObject *handle(PyObject *method, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    if (PyVectorcall_NARGS(nargsf) != 2 || kwnames != NULL || Py_TYPE(args[1]) != record_type ||
        record_type->tp_getattro != PyObject_GenericGetAttr || !is_served(Py_TYPE(args[0])))
        return lb_fall_back(method, args, nargsf, kwnames);
    PyObject *handler = args[0], *record = args[1], *places = places_of(handler);
    PyObject *attributes = places == NULL ? NULL : PyObject_GenericGetDict(record, NULL);
    outcome result = PYTHON;
    call known = {NULL, NULL, NULL, 0};
    int writable = 1, again = attributes != NULL && PyDict_CheckExact(attributes);
    while (again) {
        again = 0;
        result = pass(handler, attributes, places, &known, &writable, &again);
    }
    Py_XDECREF(attributes);
    Py_XDECREF(places);
    Py_XDECREF(known.message);
    Py_XDECREF(known.created);
    Py_XDECREF(known.place);
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    if (result == PYTHON) {
        PyErr_Clear();
        return lb_fall_back(method, args, nargsf, kwnames);
    }
    PyObject *done = NULL;
    if (result == UNUSUAL) {
        done = PyObject_CallMethodOneArg(handler, unusual_name, record);
        if (done == NULL && !PyErr_ExceptionMatches(PyExc_Exception))
            return NULL;
        result = done == NULL ? RAISED : DONE;
    }
    if (result == RAISED) {
        PyErr_Clear();
        done = PyObject_CallMethodOneArg(handler, rescue_name, record);
        if (done == NULL)
            return NULL;
    }
    Py_XDECREF(done);
    return Py_NewRef(record);
}

/* ── the module's part ─────────────────────────────────────────────────────────────────────────────────────────── */

PyDoc_STRVAR(handling_doc,
"handling($module, function, handler, record, standard, not_extra, context, add_context, entry_bytes, field_bytes,\n"
"         usual_bytes, /)\n--\n\n"
"The compiled method `handle` of the class `handler`, in front of this function, for records of the class `record`.");

static PyObject *handling(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *function, *handler, *record, *names, *others, *variable, *add;
    Py_ssize_t entry, field, usual;
    if (!PyArg_ParseTuple(args, "OO!O!O!O!O!Onnn:handling", &function, &PyType_Type, &handler, &PyType_Type, &record,
                          &PyTuple_Type, &names, &PyFrozenSet_Type, &others, &PyContextVar_Type, &variable, &add,
                          &entry, &field, &usual))
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(names);
    int where[LOOKED_AT];
    for (int i = 0; i < LOOKED_AT; i++) {
        where[i] = -1;
        for (Py_ssize_t at = 0; at < count && at < MOST_ATTRIBUTES; at++) {
            PyObject *name = PyTuple_GET_ITEM(names, at);
            if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, attribute_names[i]) == 0)
                where[i] = (int)at;
        }
        if (where[i] < 0 || count > MOST_ATTRIBUTES) {
            PyErr_SetString(PyExc_ValueError, "records of this kind are not what this was made for");
            return NULL;
        }
    }
    PyObject *emit = PyObject_GetAttr(handler, emit_name);
    PyObject *method = emit == NULL ? NULL : lb_new_method(function, handle, 0);
    if (method == NULL) {
        Py_XDECREF(emit);
        return NULL;
    }
    for (int i = 0; i < LOOKED_AT; i++)
        place_of[i] = where[i];
    entry_bytes = entry;
    field_bytes = field;
    usual_bytes = usual;
    verified[0] = verified[1] = 0;
    Py_XSETREF(own_emit, emit);
    Py_XSETREF(handler_type, (PyTypeObject *)Py_NewRef(handler));
    Py_XSETREF(record_type, (PyTypeObject *)Py_NewRef(record));
    Py_XSETREF(standard, Py_NewRef(names));
    Py_XSETREF(not_extra, Py_NewRef(others));
    Py_XSETREF(context, Py_NewRef(variable));
    Py_XSETREF(add_context, Py_NewRef(add));
    return method;
}

static PyMethodDef functions[] = {
    {"handling", handling, METH_VARARGS, handling_doc},
    {NULL},
};

int lb_add_take(PyObject *module)
{
    static const lb_text texts[] = {
        {&emit_name, "emit"},         {&filters_name, "filters"},         {&places_name, "_places"},
        {&producer_name, "producer"}, {&unusual_name, "_emit_unusual"}, {&rescue_name, "_rescue"},
        {&sizeof_name, "__sizeof__"},
    };
    return LB_INTERN(texts) < 0 ? -1 : PyModule_AddFunctions(module, functions);
}
