/* A logging.LogRecord out of what all records of its place have in common: logbus.producers.template, compiled.
 *
 * The attributes of an earlier record are copied and what belongs to one call is written over, in the order and by the
 * rules of that module; what a switch of logging says is looked up for each record. Whatever is set to something that
 * logging does not set by itself (a switch that is no bool, another clock, a process that is forking) is left to the
 * Python function. */
#include "native.h"

#include <math.h>
#include <time.h>

static PyObject *n_msg, *n_args, *n_created, *n_msecs, *n_relative, *n_thread, *n_thread_name, *n_process_name,
    *n_process, *n_start, *n_log_threads, *n_log_multiprocessing, *n_log_processes, *n_get_ident, *n_current_thread,
    *n_dict, *n_name, *n_own_name, *n_multiprocessing, *n_current_process, *n_id, *n_clock, *main_process;
#if PY_VERSION_HEX >= 0x030C0000
static PyObject *n_task_name, *n_log_tasks, *n_asyncio, *n_running_loop, *n_current_task, *n_get_name;
#endif

static const lb_text texts[] = {
    {&n_msg, "msg"},
    {&n_args, "args"},
    {&n_created, "created"},
    {&n_msecs, "msecs"},
    {&n_relative, "relativeCreated"},
    {&n_thread, "thread"},
    {&n_thread_name, "threadName"},
    {&n_process_name, "processName"},
    {&n_process, "process"},
    {&n_start, "_startTime"},
    {&n_log_threads, "logThreads"},
    {&n_log_multiprocessing, "logMultiprocessing"},
    {&n_log_processes, "logProcesses"},
    {&n_get_ident, "get_ident"},
    {&n_current_thread, "current_thread"},
    {&n_dict, "__dict__"},
    {&n_name, "name"},
    {&n_own_name, "_name"},
    {&n_multiprocessing, "multiprocessing"},
    {&n_current_process, "current_process"},
    {&n_id, "id"},
    {&main_process, "MainProcess"},
    {&n_clock, LB_CLOCK},
#if PY_VERSION_HEX >= 0x030C0000
    {&n_task_name, "taskName"},
    {&n_log_tasks, "logAsyncioTasks"},
    {&n_asyncio, "asyncio"},
    {&n_running_loop, "_get_running_loop"},
    {&n_current_task, "current_task"},
    {&n_get_name, "get_name"},
#endif
};

int lb_add_record(PyObject *Py_UNUSED(module))
{
    return LB_INTERN(texts);
}

/* ── parts of a record ─────────────────────────────────────────────────────────────────────────────────────────── */

long long lb_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* The number of the calling thread, as an object. */
static PyObject *thread_ident(void)
{
    static unsigned long last;
    static PyObject *key;
    PyObject *get_ident = PyDict_GetItemWithError(lb_known.threading, n_get_ident);
    if (get_ident == NULL) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_AttributeError, "module 'threading' has no attribute 'get_ident'");
        return NULL;
    }
    if (get_ident != lb_known.get_ident) {
        Py_INCREF(get_ident);
        PyObject *found = PyObject_CallNoArgs(get_ident);
        Py_DECREF(get_ident);
        return found;
    }
    unsigned long ident = PyThread_get_thread_ident();
    if (key == NULL || ident != last) {
        PyObject *fresh = PyLong_FromUnsignedLong(ident);
        if (fresh == NULL)
            return NULL;
        Py_XSETREF(key, fresh);
        last = ident;
    }
    return Py_NewRef(key);
}

PyObject *lb_thread_name(PyObject **ident)
{
    PyObject *key = thread_ident();
    if (key == NULL)
        return NULL;
    PyObject *thread = PyDict_GetItemWithError(lb_known.threads, key);
    Py_XINCREF(thread);
    if (ident != NULL)
        *ident = key;
    else
        Py_DECREF(key);
    if (thread == NULL && PyErr_Occurred())
        goto failed;
    PyObject *current = PyDict_GetItemWithError(lb_known.threading, n_current_thread), *found = NULL;
    PyObject *kind = thread == NULL ? NULL : (PyObject *)Py_TYPE(thread);
    if (kind != NULL && (kind == lb_known.main_thread || kind == lb_known.thread) &&
        current == lb_known.current_thread) {
        found = PyObject_GetAttr(thread, n_own_name);
    } else if (current != NULL) {
        Py_INCREF(current);
        PyObject *asked = PyObject_CallNoArgs(current);
        Py_DECREF(current);
        found = asked == NULL ? NULL : PyObject_GetAttr(asked, n_name);
        Py_XDECREF(asked);
    } else if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_AttributeError, "module 'threading' has no attribute 'current_thread'");
    }
    Py_XDECREF(thread);
    if (found != NULL)
        return found;
    thread = NULL;
failed:
    Py_XDECREF(thread);
    if (ident != NULL)
        Py_CLEAR(*ident);
    return NULL;
}

/* The name that multiprocessing knows for this process. */
static PyObject *process_name(void)
{
    PyObject *processes = PyDict_GetItemWithError(lb_known.modules, n_multiprocessing);
    if (processes == NULL || processes == Py_None)
        return PyErr_Occurred() ? NULL : Py_NewRef(main_process);
    Py_INCREF(processes);
    PyObject *process = PyObject_CallMethodNoArgs(processes, n_current_process);
    Py_DECREF(processes);
    PyObject *name = process == NULL ? NULL : PyObject_GetAttr(process, n_name);
    Py_XDECREF(process);
    if (name == NULL && lb_forgive()) /* it is being imported just now */
        return Py_NewRef(main_process);
    return name;
}

#if PY_VERSION_HEX >= 0x030C0000
/* The name of the task in which the call is made, or None. */
static PyObject *task_name(void)
{
    PyObject *asyncio = PyDict_GetItemWithError(lb_known.modules, n_asyncio);
    if (asyncio == NULL)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    Py_INCREF(asyncio);
    PyObject *name = NULL, *loop = NULL, *task = NULL;
    if (asyncio == Py_None) {
        name = Py_NewRef(Py_None);
        goto end;
    }
    loop = PyObject_CallMethodNoArgs(asyncio, n_running_loop);
    if (loop == Py_None)
        name = Py_NewRef(Py_None);
    else if (loop != NULL && (task = PyObject_CallMethodNoArgs(asyncio, n_current_task)) != NULL)
        name = PyObject_CallMethodNoArgs(task, n_get_name);
    Py_XDECREF(loop);
    Py_XDECREF(task);
    if (name == NULL && lb_forgive()) /* no task, or asyncio is being imported just now */
        name = Py_NewRef(Py_None);
end:
    Py_DECREF(asyncio);
    return name;
}
#endif

/* Gives a record an attribute, and lets go of the value; NULL is an exception. */
static int put(PyObject *found, PyObject *name, PyObject *value)
{
    if (value == NULL)
        return -1;
    int done = PyDict_SetItem(found, name, value);
    Py_DECREF(value);
    return done;
}

/* A switch of logging: 1, 0, or -1 where it is no bool. */
static int is_on(PyObject *name)
{
    PyObject *value = PyDict_GetItemWithError(lb_known.logging, name);
    return value == Py_True ? 1 : value == Py_False ? 0 : -1;
}

/* ── the record ────────────────────────────────────────────────────────────────────────────────────────────────── */

/* What was set to something unusual is Python's to read. */
static PyObject *by_python(PyObject *template, PyObject *message, PyObject *arguments, PyObject *extra)
{
    if (PyErr_Occurred())
        return NULL;
    PyObject *record = PyObject_CallFunctionObjArgs(lb_known.record_of, template, message, arguments, NULL);
    if (record == NULL || extra == NULL)
        return record;
    PyObject *own = PyObject_GenericGetDict(record, NULL);
    int done = own == NULL ? -1 : PyDict_Update(own, extra);
    Py_XDECREF(own);
    if (done < 0)
        Py_CLEAR(record);
    return record;
}

static int put_time(PyObject *found, PyObject *start)
{
    long long now = lb_now();
    double created, msecs, relative;
#if PY_VERSION_HEX >= 0x030D0000
    created = (double)now / 1e9;
    msecs = (double)(now % 1000000000LL / 1000000LL);
    if (msecs == 999.0 && (long long)created != now / 1000000000LL) /* seconds in a float round up */
        msecs = 0.0;
    relative = (double)(now - PyLong_AsLongLong(start)) / 1e6;
    if (PyErr_Occurred())
        return -1;
#else
    created = (double)now / 1e9;
    msecs = trunc((created - trunc(created)) * 1000);
    relative = (created - PyFloat_AS_DOUBLE(start)) * 1000;
#endif
    if (put(found, n_created, PyFloat_FromDouble(created)) < 0 || put(found, n_msecs, PyFloat_FromDouble(msecs)) < 0)
        return -1;
    return put(found, n_relative, PyFloat_FromDouble(relative));
}

static int put_thread(PyObject *found, int on)
{
    PyObject *ident = Py_None, *name = Py_None;
    if (on && (name = lb_thread_name(&ident)) == NULL)
        return -1;
    if (!on) {
        Py_INCREF(ident);
        Py_INCREF(name);
    }
    int done = put(found, n_thread, ident);
    int named = put(found, n_thread_name, name);
    return done < 0 || named < 0 ? -1 : 0;
}

PyObject *lb_record_of(PyObject *template, PyObject *message, PyObject *arguments, PyObject *extra)
{
    int threads = is_on(n_log_threads), multiprocessing = is_on(n_log_multiprocessing),
        processes = is_on(n_log_processes);
    PyObject *start = PyDict_GetItemWithError(lb_known.logging, n_start);
    PyObject *clock = PyDict_GetItemWithError(lb_known.time, n_clock);
#if PY_VERSION_HEX >= 0x030D0000
    int usual = start != NULL && PyLong_CheckExact(start) && clock != NULL && clock == lb_known.clock;
#else
    int usual = start != NULL && PyFloat_CheckExact(start) && clock != NULL && clock == lb_known.clock;
#endif
#if PY_VERSION_HEX >= 0x030C0000
    int tasks = is_on(n_log_tasks);
    usual = usual && tasks >= 0;
#endif
    if (!usual || threads < 0 || multiprocessing < 0 || processes < 0)
        return by_python(template, message, arguments, extra);
    PyObject *process = processes ? PyObject_GetAttr(lb_known.process, n_id) : Py_NewRef(Py_None);
    if (process == NULL)
        return NULL;
    if (processes && process == Py_None) { /* while it forks */
        Py_DECREF(process);
        return by_python(template, message, arguments, extra);
    }
    Py_INCREF(start);
    PyObject *record = NULL, *found = PyDict_Copy(template);
    /* In the order in which the Python function does it: what is asked may run the application's code. */
    if (found == NULL || put_time(found, start) < 0 || PyDict_SetItem(found, n_msg, message) < 0 ||
        PyDict_SetItem(found, n_args, arguments) < 0 || put_thread(found, threads) < 0 ||
        put(found, n_process_name, multiprocessing ? process_name() : Py_NewRef(Py_None)) < 0 ||
        PyDict_SetItem(found, n_process, process) < 0)
        goto end;
#if PY_VERSION_HEX >= 0x030C0000
    if (put(found, n_task_name, tasks ? task_name() : Py_NewRef(Py_None)) < 0)
        goto end;
#endif
    if (extra != NULL && PyDict_Update(found, extra) < 0)
        goto end;
    PyObject *nothing = PyTuple_New(0);
    if (nothing != NULL)
        record = PyBaseObject_Type.tp_new((PyTypeObject *)lb_known.record, nothing, NULL);
    Py_XDECREF(nothing);
    /* Through the class: PyObject_GenericSetDict() leaves the empty values of an object in place in Python 3.13. */
    if (record != NULL && PyObject_SetAttr(record, n_dict, found) < 0)
        Py_CLEAR(record);
end:
    Py_XDECREF(found);
    Py_DECREF(process);
    Py_DECREF(start);
    return record;
}
