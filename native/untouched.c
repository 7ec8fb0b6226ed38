/* What logging does by itself, as logbus.producers.untouched knows it: compared in each log call, by identity.
 *
 * The attributes of a class are compared once for each of its version tags: CPython gives a class a tag with the first
 * look-up in it, and takes it away (from its subclasses, too) with any change of the class or of a base; no tag is ever
 * given again. A class that has none is compared each time. What stands in the module `logging` is looked up each time.
 *
 * Nothing here runs Python code where logging is as Python ships it. Where somebody's descriptor or metaclass might,
 * the class counts as touched, or is asked again each time. */
#include "native.h"

#include <stddef.h>
#include <string.h>

lb_names lb_known;

/* Where each name goes, and how it is called in Python. */
static const struct {
    const char *name;
    size_t at;
} names[] = {
#define NAME(name, member) {name, offsetof(lb_names, member)}
    NAME("LOGGER", logger),
    NAME("LOG", log),
    NAME("IS_ENABLED_FOR", is_enabled_for),
    NAME("FIND_CALLER", find_caller),
    NAME("MAKE_RECORD", make_record),
    NAME("HANDLE", handle),
    NAME("FILTER", filter),
    NAME("CALL_HANDLERS", call_handlers),
    NAME("_log", our_log),
    NAME("RECORD", record),
    NAME("MAKE", make),
    NAME("LEVEL_NAME", level_name),
    NAME("IS_INTERNAL", is_internal),
    NAME("SOURCE", source),
    NAME("NULL_HANDLER", null_handler),
    NAME("NULL_HANDLE", null_handle),
    NAME("LogbusHandler", handler),
    NAME("SITES", sites),
    NAME("site_from", site_from),
    NAME("LEVEL_NAMES", level_names),
    NAME("CLEANERS", cleaners),
    NAME("NOT_EXTRA", not_extra),
    NAME("Mapping", mapping),
    NAME("add_context", add_context),
    NAME("THREADS", threads),
    NAME("THREAD", thread),
    NAME("MAIN_THREAD", main_thread),
    NAME("CURRENT_THREAD", current_thread),
    NAME("Process", process),
    NAME("record_of", record_of),
#undef NAME
};

/* The methods of the five levels, and logging's own for each. */
#define LEVELS 5
static const char *const level_methods[LEVELS] = {"debug", "info", "warning", "error", "critical"};
static PyObject *level_names[LEVELS], *usual[LEVELS];

/* What was found for a tag of a class of loggers; several kinds take turns. */
#define KINDS 16
static struct {
    unsigned tag;
    unsigned found;
} seen[KINDS];
/* The tags with which LogRecord, NullHandler and LogbusHandler were as they should be. */
static unsigned record_seen, null_handler_seen, handler_seen;

/* Names of attributes. */
static PyObject *n_log, *n_is_enabled_for, *n_find_caller, *n_make_record, *n_handle, *n_filter, *n_call_handlers,
    *n_init, *n_factory, *n_srcfile, *n_is_internal, *n_level_name, *n_cache, *n_disabled, *n_name, *n_filters,
    *n_handlers, *n_propagate, *n_parent, *n_level, *n_producer;

/* What an instance has, and no class may say otherwise: of loggers, and of our handler. */
static PyObject *const *const of_loggers[] = {&n_cache,    &n_disabled,  &n_name,  &n_filters,
                                              &n_handlers, &n_propagate, &n_parent};
static PyObject *const *const of_handlers[] = {&n_level, &n_filters, &n_producer};

static const lb_text texts[] = {
    {&n_log, "_log"},
    {&n_is_enabled_for, "isEnabledFor"},
    {&n_find_caller, "findCaller"},
    {&n_make_record, "makeRecord"},
    {&n_handle, "handle"},
    {&n_filter, "filter"},
    {&n_call_handlers, "callHandlers"},
    {&n_init, "__init__"},
    {&n_factory, "_logRecordFactory"},
    {&n_srcfile, "_srcfile"},
    {&n_is_internal, "_is_internal_frame"},
    {&n_level_name, "getLevelName"},
    {&n_cache, "_cache"},
    {&n_disabled, "disabled"},
    {&n_name, "name"},
    {&n_filters, "filters"},
    {&n_handlers, "handlers"},
    {&n_propagate, "propagate"},
    {&n_parent, "parent"},
    {&n_level, "level"},
    {&n_producer, "producer"},
};

/* ── what is known ─────────────────────────────────────────────────────────────────────────────────────────────── */

static PyObject *given(PyObject *from, const char *name)
{
    PyObject *found = PyDict_GetItemString(from, name);
    if (found == NULL)
        PyErr_Format(PyExc_KeyError, "%s", name);
    return found;
}

static int size_of(PyObject *from, const char *name, Py_ssize_t *to)
{
    PyObject *found = given(from, name);
    *to = found == NULL ? -1 : PyLong_AsSsize_t(found);
    return *to < 0 ? -1 : 0;
}

/* A new reference to the dict of a module that a name stands for. */
static int dict_of(PyObject *from, const char *name, PyObject **to)
{
    PyObject *module = given(from, name);
    if (module == NULL)
        return -1;
    if (!PyModule_Check(module)) {
        PyErr_Format(PyExc_TypeError, "%s is no module", name);
        return -1;
    }
    *to = Py_NewRef(PyModule_GetDict(module));
    return 0;
}

/* A function of a module written in C, by its own name: what it does may be done here. NULL where it is another. */
static PyObject *builtin(PyObject *module, const char *name)
{
    PyObject *found = PyDict_GetItemString(module, name);
    if (found == NULL || !PyCFunction_CheckExact(found) ||
        strcmp(((PyCFunctionObject *)found)->m_ml->ml_name, name) != 0)
        return NULL;
    return Py_NewRef(found);
}

/* Fills it, and the methods of logging's own. */
static int know(PyObject *from, lb_names *known, PyObject **methods)
{
    for (size_t at = 0; at < sizeof names / sizeof *names; at++) {
        PyObject *found = given(from, names[at].name);
        if (found == NULL)
            return -1;
        *(PyObject **)((char *)known + names[at].at) = Py_NewRef(found);
    }
    if (LB_INTERN(texts) < 0)
        return -1;
    PyObject *active = given(from, "active"), *own = active == NULL ? NULL : given(from, "own");
    if (own == NULL)
        return -1;
    for (int at = 0; at < LEVELS; at++) {
        if (level_names[at] == NULL && (level_names[at] = PyUnicode_InternFromString(level_methods[at])) == NULL)
            return -1;
        methods[at] = PyObject_CallFunctionObjArgs(own, known->logger, level_names[at], NULL);
        if (methods[at] == NULL)
            return -1;
    }
    if (dict_of(from, "_LOGGING", &known->logging) < 0 || dict_of(from, "_THREADING", &known->threading) < 0 ||
        dict_of(from, "_TIME", &known->time) < 0 || size_of(from, "ENTRY_BYTES", &known->entry_bytes) < 0 ||
        size_of(from, "FIELD_BYTES", &known->field_bytes) < 0 || size_of(from, "USUAL_BYTES", &known->usual_bytes) < 0)
        return -1;
    known->context = PyObject_GetAttrString(active, "__self__"); /* `active` is the variable's own get() */
    if (known->context == NULL)
        return -1;
    if (!PyContextVar_CheckExact(known->context) || !PyType_Check(known->logger) || !PyType_Check(known->record) ||
        !PyType_Check(known->null_handler) || !PyDict_CheckExact(known->sites) ||
        !PyDict_CheckExact(known->level_names) || !PyDict_CheckExact(known->cleaners) ||
        !PyFrozenSet_CheckExact(known->not_extra) || !PyDict_CheckExact(known->threads)) {
        PyErr_SetString(PyExc_TypeError, "what log calls compare is of another kind than expected");
        return -1;
    }
    known->modules = Py_NewRef(PyImport_GetModuleDict());
    known->get_ident = builtin(known->threading, "get_ident");
    known->clock = builtin(known->time, LB_CLOCK);
    return 0;
}

int lb_know(PyObject *from)
{
    lb_names known = {0};
    PyObject *methods[LEVELS] = {NULL};
    if (know(from, &known, methods) < 0) { /* all or nothing: the methods of an earlier time go by what they know */
        for (PyObject **at = &known.logging; at <= &known.clock; at++)
            Py_XDECREF(*at);
        for (int at = 0; at < LEVELS; at++)
            Py_XDECREF(methods[at]);
        return -1;
    }
    /* Again where a program loads the modules anew: what was known before is let go by nobody, calls may be in it. */
    lb_known = known;
    memcpy(usual, methods, sizeof usual);
    memset(seen, 0, sizeof seen);
    record_seen = null_handler_seen = handler_seen = 0;
    return 0;
}

/* ── what stands there ─────────────────────────────────────────────────────────────────────────────────────────── */

/* The version tag of a class; 0 where it has none. */
static unsigned tag_of(PyTypeObject *kind)
{
#if PY_VERSION_HEX < 0x030C0000
    if (!PyType_HasFeature(kind, Py_TPFLAGS_VALID_VERSION_TAG))
        return 0;
#endif
    return kind->tp_version_tag;
}

/* Whether a class has this object by this name. */
static int has(PyObject *kind, PyObject *name, PyObject *expected)
{
    PyObject *found = PyObject_GetAttr(kind, name);
    if (found == NULL) {
        PyErr_Clear();
        return 0;
    }
    Py_DECREF(found);
    return found == expected;
}

/* Whether instances have their attributes in their dict and nowhere else, those of these names at least. Looked up as
 * for an instance: a property may hide from those who ask its class (types.DynamicClassAttribute does). */
static int is_simple(PyTypeObject *kind, PyObject *const *const *attributes, size_t count)
{
    if (kind->tp_getattro != PyObject_GenericGetAttr)
        return 0;
    for (size_t at = 0; at < count; at++)
        if (_PyType_Lookup(kind, *attributes[at]) != NULL)
            return 0;
    return 1;
}

/* Whether instances may be false: logging goes no further than the first logger that is. */
static int has_truth(PyTypeObject *kind)
{
    return (kind->tp_as_number != NULL && kind->tp_as_number->nb_bool != NULL) ||
           (kind->tp_as_mapping != NULL && kind->tp_as_mapping->mp_length != NULL) ||
           (kind->tp_as_sequence != NULL && kind->tp_as_sequence->sq_length != NULL);
}

static unsigned look(PyTypeObject *type)
{
    PyObject *kind = (PyObject *)type, *logger = lb_known.logger;
    /* Of another class than those below logging.Logger the tag says nothing about it; a metaclass may do anything. */
    if (!PyType_CheckExact(kind) || !PyType_IsSubtype(type, (PyTypeObject *)logger))
        return 0;
    if (has_truth(type) || !is_simple(type, of_loggers, sizeof of_loggers / sizeof *of_loggers))
        return 0;
    unsigned found = LB_SIMPLE | LB_GATE | LB_LOG | LB_MAKE | LB_PASS;
    for (int at = 0; at < LEVELS; at++)
        if (!has(logger, level_names[at], usual[at]))
            found &= ~(unsigned)LB_GATE;
    if (!has(kind, n_is_enabled_for, lb_known.is_enabled_for))
        found &= ~(unsigned)LB_GATE;
    if (!has(kind, n_log, lb_known.our_log) || !has(logger, n_log, lb_known.log))
        found &= ~(unsigned)LB_LOG;
    if (!has(kind, n_find_caller, lb_known.find_caller) || !has(kind, n_make_record, lb_known.make_record))
        found &= ~(unsigned)LB_MAKE;
    if (!has(kind, n_handle, lb_known.handle) || !has(kind, n_call_handlers, lb_known.call_handlers) ||
        !has(kind, n_filter, lb_known.filter))
        found &= ~(unsigned)LB_PASS;
    return found;
}

unsigned lb_untouched(PyTypeObject *kind)
{
    unsigned tag = tag_of(kind), at = tag % KINDS;
    if (tag != 0 && seen[at].tag == tag)
        return seen[at].found;
    unsigned found = look(kind);
    if (tag != 0 && tag == tag_of(kind)) { /* nothing has changed meanwhile */
        seen[at].tag = tag;
        seen[at].found = found;
    }
    return found;
}

/* Whether a class has this object by this name, remembered for one tag. */
static int still_has(PyObject *kind, PyObject *name, PyObject *expected, unsigned *remembered)
{
    unsigned tag = tag_of((PyTypeObject *)kind);
    if (tag != 0 && tag == *remembered)
        return 1;
    if (!has(kind, name, expected))
        return 0;
    if (tag != 0 && tag == tag_of((PyTypeObject *)kind))
        *remembered = tag;
    return 1;
}

int lb_records_untouched(void)
{
    PyObject *logging = lb_known.logging;
    return still_has(lb_known.record, n_init, lb_known.make, &record_seen) &&
           PyDict_GetItemWithError(logging, n_factory) == lb_known.record &&
           PyDict_GetItemWithError(logging, n_srcfile) == lb_known.source &&
           PyDict_GetItemWithError(logging, n_is_internal) == lb_known.is_internal &&
           PyDict_GetItemWithError(logging, n_level_name) == lb_known.level_name;
}

int lb_is_ours(PyObject *handler)
{
    PyTypeObject *kind = Py_TYPE(handler);
    if ((PyObject *)kind != lb_known.handler)
        return 0;
    unsigned tag = tag_of(kind);
    if (tag != 0 && tag == handler_seen)
        return 1;
    if (!is_simple(kind, of_handlers, sizeof of_handlers / sizeof *of_handlers))
        return -1;
    handler_seen = tag_of(kind);
    return 1;
}

int lb_does_nothing(PyObject *handler)
{
    if ((PyObject *)Py_TYPE(handler) != lb_known.null_handler ||
        !still_has(lb_known.null_handler, n_handle, lb_known.null_handle, &null_handler_seen))
        return 0;
    PyObject *own = PyObject_GenericGetDict(handler, NULL);
    int found = own == NULL ? -1 : PyDict_Contains(own, n_handle);
    Py_XDECREF(own);
    if (found < 0)
        PyErr_Clear();
    return found == 0;
}
