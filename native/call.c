/* The methods of a FastLogger for the five levels: logbus.producers.fast_logger and shortcut, compiled.
 *
 * A call asks its logger's cache of answers, and what that lets through goes the first way that is open: fast (fast.c),
 * or lean (a LogRecord, given to Logger.handle by way of two Python functions that stand for the method and for `_log`:
 * who counts the frames to the call finds as many as ever). All that the Python compares is compared here, in each
 * call. What neither way is for, and whatever is of a kind that is not expected here, goes with the very same arguments
 * to the Python method, which looks for itself: nothing has happened by then but that questions were asked.
 */
#include "native.h"

#define LEVELS 5

/* Addresses of instructions, as objects. */
#define ADDRESSES 251
static struct {
    uintptr_t place;
    PyObject *object;
} addresses[ADDRESSES];

/* The number of each level, as the cache and the names of levels have it, and what hands a record of it over. */
static PyObject *level_of[LEVELS], *hand_over[LEVELS];

static PyObject *n_cache, *n_disabled, *n_name, *n_extra;

static const lb_text texts[] = {
    {&n_cache, "_cache"},
    {&n_disabled, "disabled"},
    {&n_name, "name"},
    {&n_extra, "extra"},
};

/* ── the level ─────────────────────────────────────────────────────────────────────────────────────────────────── */

/* What a logger remembers to have answered for a level: 1, 0, or -1 where it has to be asked. */
static int passes(PyObject *own, PyObject *level)
{
    PyObject *cache = PyDict_GetItemWithError(own, n_cache);
    if (cache == NULL || !PyDict_CheckExact(cache))
        return -1;
    Py_INCREF(cache); /* somebody's numbers may be in it, and their comparison replace it */
    PyObject *answer = PyDict_GetItemWithError(cache, level);
    Py_DECREF(cache);
    if (answer == Py_False)
        return 0;
    int disabled = answer == Py_True ? lb_flag(own, n_disabled) : -1;
    return disabled < 0 ? -1 : !disabled;
}

/* Whether keywords are of a kind that a call which is stopped never looks at. */
static int may_stand(PyObject *keywords)
{
    for (Py_ssize_t at = 0; keywords != NULL && at < PyTuple_GET_SIZE(keywords); at++) {
        PyObject *name = PyTuple_GET_ITEM(keywords, at);
        if (name != n_extra && (PyUnicode_CompareWithASCIIString(name, "msg") == 0 ||
                                PyUnicode_CompareWithASCIIString(name, "self") == 0))
            return 0;
    }
    return 1;
}

/* ── the place ──────────────────────────────────────────────────────────────────────────────────────────────── */

/* Whether it is a site at all: what stands in SITES can be reached by everybody. */
static int is_site(PyObject *site)
{
    return PyList_CheckExact(site) && PyList_GET_SIZE(site) > LB_ADDRESS &&
           PyList_CheckExact(PyList_GET_ITEM(site, LB_KEYS)) && PyDict_CheckExact(PyList_GET_ITEM(site, LB_TEMPLATE));
}

static int is_of(PyObject *site, PyObject *name, PyObject *level)
{
    PyObject *level_name = PyDict_GetItemWithError(lb_known.level_names, level);
    return PyList_GET_ITEM(site, LB_NAME) == name && level_name != NULL &&
           level_name == PyList_GET_ITEM(site, LB_LEVEL_NAME) &&
           PyObject_RichCompareBool(PyList_GET_ITEM(site, LB_LEVEL), level, Py_EQ) == 1;
}

/* An address as an object, a new reference: of each place that has logged lately the very object that is the key in
 * SITES, with which the site is found in a third of the time. */
static PyObject *address_of(uintptr_t place)
{
    if (addresses[place % ADDRESSES].place == place)
        return Py_NewRef(addresses[place % ADDRESSES].object);
    return PyLong_FromUnsignedLongLong(place);
}

/* Remembers the object that stands in a site, if it is of this place and not of one further out. */
static void remember(uintptr_t place, PyObject *site)
{
    PyObject *object = PyList_GET_ITEM(site, LB_ADDRESS);
    if (addresses[place % ADDRESSES].object == object || !PyLong_CheckExact(object))
        return;
    if (PyLong_AsUnsignedLongLong(object) == place) {
        addresses[place % ADDRESSES].place = place;
        Py_XSETREF(addresses[place % ADDRESSES].object, Py_NewRef(object));
    }
}

/* The site of the call that is being made (a new reference); NULL where Python has to find it, or with an exception. */
static PyObject *site_of(PyObject *own, PyObject *level)
{
    PyFrameObject *frame = PyEval_GetFrame();
    PyObject *name = PyDict_GetItemWithError(own, n_name), *site = NULL;
    if (frame == NULL || name == NULL)
        return NULL;
    PyCodeObject *code = PyFrame_GetCode(frame);
    uintptr_t place = (uintptr_t)code + (uintptr_t)PyFrame_GetLasti(frame);
    Py_DECREF(code); /* the frame has it */
    Py_INCREF(name);
    PyObject *address = address_of(place);
    if (address != NULL)
        site = PyDict_GetItemWithError(lb_known.sites, address);
    Py_XINCREF(site); /* somebody's numbers may have names as levels, and their comparison make all sites forgotten */
    if (site != NULL && !(is_site(site) && is_of(site, name, level)))
        Py_CLEAR(site);
    if (site == NULL && address != NULL && !PyErr_Occurred()) /* a new place, another logger or level, logging's frame */
        site = PyObject_CallFunctionObjArgs(lb_known.site_from, name, level, (PyObject *)frame, NULL);
    Py_XDECREF(address);
    Py_DECREF(name);
    if (site != NULL && !is_site(site))
        Py_CLEAR(site);
    if (site != NULL)
        remember(place, site);
    return site;
}

/* ── the call ──────────────────────────────────────────────────────────────────────────────────────────────────── */

/* Makes a record and gives it to Logger.handle. */
static lb_way go_lean(lb_call *call, PyObject *to)
{
    PyObject *extra = call->extra != NULL && PyDict_GET_SIZE(call->extra) ? call->extra : NULL;
    if (extra != NULL && !lb_take_names(extra, call->site))
        return LB_PYTHON;
    PyObject *template = PyList_GET_ITEM(call->site, LB_TEMPLATE);
    PyObject *record = lb_record_of(template, call->message, call->arguments, extra);
    if (record == NULL)
        return LB_RAISED;
    PyObject *given[] = {call->logger, record};
    PyObject *done = PyObject_Vectorcall(to, given, 2, NULL);
    Py_DECREF(record);
    Py_XDECREF(done);
    return done == NULL ? LB_RAISED : LB_DONE;
}

/* The extra fields of a call, if there are some; 0 where they are of a kind that is not for here. */
static int take_extra(lb_call *call, PyObject *const *values, PyObject *keywords)
{
    if (keywords == NULL || PyTuple_GET_SIZE(keywords) == 0)
        return 1;
    PyObject *name = PyTuple_GET_ITEM(keywords, 0), *value = values[0];
    if (PyTuple_GET_SIZE(keywords) != 1 || (name != n_extra && PyUnicode_Compare(name, n_extra) != 0))
        return 0;
    if (PyDict_CheckExact(value))
        call->extra = value;
    return call->extra != NULL || value == Py_None;
}

/* The arguments of the message, as a tuple; NULL where Python has to look (a mapping is the arguments), or with an
 * exception. */
static PyObject *take_arguments(PyObject *const *args, Py_ssize_t count)
{
    if (count == 1 && !lb_is_plain(args[0])) {
        if (PyDict_Check(args[0]) || PyObject_IsInstance(args[0], lb_known.mapping) != 0)
            return NULL;
    }
    PyObject *given = PyTuple_New(count);
    for (Py_ssize_t at = 0; given != NULL && at < count; at++)
        PyTuple_SET_ITEM(given, at, Py_NewRef(args[at]));
    return given;
}

/* A call that its level lets through. */
static lb_way go(lb_call *call, unsigned untouched, PyObject *to)
{
    lb_way found = untouched & LB_PASS ? lb_go_fast(call) : LB_LEAN;
    return found == LB_LEAN ? go_lean(call, to) : found;
}

static PyObject *log_call(PyObject *method, PyObject *const *args, size_t nargsf, PyObject *keywords)
{
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    if (count < 2)
        return lb_fall_back(method, args, nargsf, keywords);
    long at = ((lb_method *)method)->datum;
    lb_call call = {.logger = args[0], .level = level_of[at], .message = args[1]};
    unsigned untouched = lb_untouched(Py_TYPE(call.logger));
    if (!(untouched & LB_GATE))
        return lb_fall_back(method, args, nargsf, keywords);
    if ((call.own = PyObject_GenericGetDict(call.logger, NULL)) == NULL)
        return lb_forgive() ? lb_fall_back(method, args, nargsf, keywords) : NULL;
    lb_way found = LB_PYTHON;
    int passing = passes(call.own, call.level);
    if (passing == 0 && may_stand(keywords))
        found = LB_DONE;
    else if (passing > 0 && (untouched & LB_LOG) && (untouched & LB_MAKE) &&
             take_extra(&call, args + count, keywords) && lb_records_untouched() &&
             (call.arguments = take_arguments(args + 2, count - 2)) != NULL &&
             (call.site = site_of(call.own, call.level)) != NULL)
        found = go(&call, untouched, hand_over[at]);
    Py_DECREF(call.own);
    Py_XDECREF(call.arguments);
    Py_XDECREF(call.site);
    if (found == LB_DONE)
        Py_RETURN_NONE;
    if (found == LB_RAISED || (PyErr_Occurred() && !lb_forgive()))
        return NULL;
    return lb_fall_back(method, args, nargsf, keywords);
}

PyDoc_STRVAR(calls_doc,
"calls($module, names, levels, /)\n--\n\n"
"The methods of a FastLogger, a list: for each (level, Python method, function that hands a record over).\n\n"
"`names` is a dict with what logbus.producers.shortcut and fast_logger compare and use, by their names.");

static PyObject *calls(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *names, *levels;
    if (!PyArg_ParseTuple(args, "O!O!:calls", &PyDict_Type, &names, &PyTuple_Type, &levels) || lb_know(names) < 0)
        return NULL;
    if (PyTuple_GET_SIZE(levels) != LEVELS) {
        PyErr_Format(PyExc_ValueError, "calls() takes %d levels (%zd given)", LEVELS, PyTuple_GET_SIZE(levels));
        return NULL;
    }
    PyObject *found = PyList_New(0);
    for (Py_ssize_t at = 0; found != NULL && at < LEVELS; at++) {
        PyObject *level, *method, *hand;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(levels, at), "O!OO", &PyLong_Type, &level, &method, &hand)) {
            Py_CLEAR(found);
            break;
        }
        level_of[at] = Py_NewRef(level);
        hand_over[at] = Py_NewRef(hand);
        PyObject *compiled = lb_new_method(method, log_call, (long)at);
        if (compiled == NULL || PyList_Append(found, compiled) < 0)
            Py_CLEAR(found);
        Py_XDECREF(compiled);
    }
    return found;
}

static PyMethodDef functions[] = {
    {"calls", calls, METH_VARARGS, calls_doc},
    {NULL},
};

int lb_add_call(PyObject *module)
{
    if (LB_INTERN(texts) < 0)
        return -1;
    return lb_add_record(module) < 0 || lb_add_fast(module) < 0 ? -1 : PyModule_AddFunctions(module, functions);
}
