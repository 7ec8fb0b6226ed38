/* The compiled part of a producer: what a log call and the sender do for every record, without the interpreter.
 *
 * Everything here does exactly what the Python of logbus.producers does that stands beside it, and no more: what is
 * unusual about a record goes to that Python. Each function holds the GIL from its first line to its last, and what
 * must not come apart (a record enters and is counted) is written without a call that could run Python code: neither
 * a signal handler nor another thread comes between. See docs/decisions/0016.
 */
#ifndef LOGBUS_NATIVE_H
#define LOGBUS_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

/* ── writer.c: plain values as msgpack ─────────────────────────────────────────────────────────────────────────── */

/* Bytes that grow. */
typedef struct {
    unsigned char *bytes;
    Py_ssize_t length;
    Py_ssize_t room;
} lb_writer;

/* What became of a value: written; none of those that travel as they are (nothing is raised, and what was written of
 * it is to be thrown away); an exception is set (out of memory). */
typedef enum { LB_WRITTEN = 0, LB_UNUSUAL = 1, LB_ERROR = -1 } lb_outcome;

/* The one writer of log calls. No Python code runs between lb_begin() and the end of lb_put_written(), so that no two
 * calls ever share it. */
lb_writer *lb_begin(void);
/* The same as it stands. */
lb_writer *lb_written(void);
/* Lets go of the bytes of any other writer, which begins as {0}. */
void lb_free_writer(lb_writer *writer);

lb_outcome lb_write_nil(lb_writer *writer);
/* An exact str; with a lone surrogate it is unusual. */
lb_outcome lb_write_str(lb_writer *writer, PyObject *text);
/* An exact str, int of 64 bits, float, bool or None. */
lb_outcome lb_write_scalar(lb_writer *writer, PyObject *value);
lb_outcome lb_write_map(lb_writer *writer, Py_ssize_t entries);
lb_outcome lb_write_array(lb_writer *writer, Py_ssize_t items);
/* An exact dict of exact str keys and scalars. */
lb_outcome lb_write_fields(lb_writer *writer, PyObject *fields);
/* Exact dicts with str keys, lists, tuples and scalars, at most LB_DEPTH deep; unusual beyond LB_MOST_BYTES. */
lb_outcome lb_write_tree(lb_writer *writer, PyObject *value, int depth);
lb_outcome lb_write_int(lb_writer *writer, long long value);
lb_outcome lb_write_raw(lb_writer *writer, const void *bytes, Py_ssize_t length);

#define LB_DEPTH 32
/* Bytes of a record that is written by a log call; what is larger is cut to size by the sender, if need be. */
#define LB_MOST_BYTES (64 * 1024)

/* Bytes that str.__sizeof__() tells of an exact str (without what it keeps as UTF-8). */
Py_ssize_t lb_sizeof_str(PyObject *text);

/* ── slots.c: the counters of this process ─────────────────────────────────────────────────────────────────────── */

/* Where the words of a slot stand; a counter of drops is followed by those of the other level buckets. */
typedef struct {
    Py_ssize_t emitted, settled, high_water_mark, shutdown, unencodable;
    Py_ssize_t shutdown_reason;
    Py_ssize_t bytes; /* of a slot */
} lb_layout;

extern lb_layout lb_words;

typedef struct {
    PyObject *counters; /* logbus.counters.Counters */
    PyObject *cells;    /* its dict: thread ident → memoryview of its slot in the page */
    unsigned long ident; /* of the thread whose key was used last */
    PyObject *key;
} lb_slots;

int lb_begin_slots(lb_slots *slots, PyObject *counters);
void lb_end_slots(lb_slots *slots);
/* The slot of the calling thread, which Python makes for its first record; NULL with an exception. Its words change in
 * the order in which that is written: another process reads them, whenever this one is killed. */
volatile uint64_t *lb_slot(lb_slots *slots);

/* ── buffer.c: logbus.producers.buffer.Buffer ──────────────────────────────────────────────────────────────────── */

/* The buffer whose own put() a producer's `emit` is (borrowed); NULL where it is something else. Raises nothing. */
PyObject *lb_buffer_of(PyObject *emit);

/* Takes in one record, whose message, extra, nested and exception stand in the writer of lb_begin(), or drops one by
 * the policy; as Buffer.put. 0, or -1 with an exception. May run Python code once all is counted (the sender is woken,
 * what was evicted ends). `thread` is any object, `site` a tuple (logger, level number, …). */
int lb_put_written(PyObject *buffer, double created, PyObject *site, PyObject *thread, Py_ssize_t size);

/* ── method.c: a method of a Python class, in front of the function that it stands for ─────────────────────────── */

/* What stands in the class. `vectorcall` is its C function: it gets the object itself, then what a function gets by
 * vectorcall (with LOAD_METHOD, and through a bound method, the instance is the first of the arguments). */
typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    /* The Python function, which does all of what C doesn't, and says what the method is called. */
    PyObject *fallback;
    /* What one method's C function knows beside it: the number of a level. */
    long datum;
    PyObject *weak_references;
} lb_method;

/* A new one, or NULL with an exception. */
PyObject *lb_new_method(PyObject *fallback, vectorcallfunc call, long datum);

/* Leaves a call, as it came, to the Python function. */
static inline PyObject *lb_fall_back(PyObject *method, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return PyObject_Vectorcall(((lb_method *)method)->fallback, args, nargsf, kwnames);
}

/* One record in the buffer, or in the hand of the sender. */
typedef struct lb_entry {
    struct lb_entry *next;
    unsigned long long ticket;
    Py_ssize_t size; /* bytes, estimated by the caller: what the limit of the buffer is held against */
    double created;  /* seconds since the epoch */
    PyObject *site;
    PyObject *thread;
    PyObject *rest;    /* (message, extra, nested, exception), where it is not written; else NULL */
    int bucket;        /* of its level */
    int site_at;       /* in the tables of its frame, see frames.c */
    int thread_at;
    Py_ssize_t length; /* bytes that follow */
    unsigned char bytes[]; /* message, extra, nested, exception: four msgpack values in a row */
} lb_entry;

#define LB_BUCKETS 6

/* What Buffer.take returns: records in the order of their tickets. */
typedef struct {
    PyObject_HEAD
    lb_entry *first;
    lb_entry *last;
    Py_ssize_t records;
} lb_batch;

lb_batch *lb_new_batch(void);
void lb_free_entries(lb_entry *first);

/* ── untouched.c: what logging does by itself, and whether that still stands there ─────────────────────────────── */

/* What log calls compare and use: objects of logbus.producers.shortcut and fast_logger, by the names that they have
 * there. All of them live as long as the interpreter. */
typedef struct {
    PyObject *logging, *threading, *time; /* the names of these modules: dicts */
    PyObject *modules;                    /* sys.modules */
    PyObject *logger, *log, *is_enabled_for, *find_caller, *make_record, *handle, *filter, *call_handlers, *our_log;
    PyObject *record, *make, *level_name, *is_internal, *source, *null_handler, *null_handle;
    PyObject *handler; /* logbus.producers.handler.LogbusHandler */
    PyObject *sites, *site_from, *level_names, *cleaners, *not_extra, *mapping, *context, *add_context;
    PyObject *threads, *thread, *main_thread, *current_thread, *process, *record_of;
    PyObject *get_ident, *clock; /* Python's own, written in C; NULL where others stood there before */
    Py_ssize_t entry_bytes, field_bytes, usual_bytes;
} lb_names;

extern lb_names lb_known;

/* The function of `time` by which logging makes records. */
#if PY_VERSION_HEX >= 0x030D0000
#define LB_CLOCK "time_ns"
#else
#define LB_CLOCK "time"
#endif

/* Fills it from a dict of those names; 0, or -1 with an exception. */
int lb_know(PyObject *names);

/* What a class of loggers leaves as it was: that attributes stand in the dicts of loggers; the calls of logging.Logger
 * and isEnabledFor; _log; what makes records; what leads them to handlers. Without the first there is none of them. */
enum { LB_SIMPLE = 1, LB_GATE = 2, LB_LOG = 4, LB_MAKE = 8, LB_PASS = 16 };
unsigned lb_untouched(PyTypeObject *kind);
/* Whether records are made by logging alone, from what it finds by itself. */
int lb_records_untouched(void);
/* Whether a handler is a LogbusHandler, and no subclass; -1 where its attributes don't stand in its dict. */
int lb_is_ours(PyObject *handler);
/* Whether a handler is one that is there for nothing. May run Python code. */
int lb_does_nothing(PyObject *handler);

/* Whether an Exception was raised, and is forgotten. What else was raised (Ctrl-C) stays, and is the caller's. */
static inline int lb_forgive(void)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return 0;
    PyErr_Clear();
    return 1;
}

/* ── record.c: a LogRecord, as logbus.producers.template makes it ──────────────────────────────────────────────── */

/* A record with the fields of `extra` (an exact dict of usable names, or NULL); NULL with an exception. */
PyObject *lb_record_of(PyObject *template, PyObject *message, PyObject *arguments, PyObject *extra);
/* The name of the calling thread; NULL with an exception. `ident`, unless NULL, becomes its number (new reference). */
PyObject *lb_thread_name(PyObject **ident);
/* The time in nanoseconds since the epoch. */
long long lb_now(void);

/* ── call.c, fast.c: one log call ──────────────────────────────────────────────────────────────────────────────── */

/* How far a call has come: done; a record is to be made; all is up to the Python method, and nothing has happened; an
 * exception is the caller's. With LB_PYTHON an exception may be set: if it is an Exception, Python raises it again. */
typedef enum { LB_DONE, LB_LEAN, LB_PYTHON, LB_RAISED } lb_way;

typedef struct {
    PyObject *logger;
    PyObject *own;       /* its dict */
    PyObject *level;     /* an int */
    PyObject *message;
    PyObject *arguments; /* a tuple */
    PyObject *extra;     /* an exact dict, or NULL */
    PyObject *site;      /* a logbus.producers.call_sites.CallSite; its parts are these: */
} lb_call;

enum { LB_NAME, LB_LEVEL, LB_LEVEL_NAME, LB_PLACE, LB_KEYS, LB_TEMPLATE, LB_ADDRESS };

/* Takes a call on the fast way, where it is open. */
lb_way lb_go_fast(lb_call *call);
/* Whether all fields may be fields: their names are texts, and none is that of an attribute of records. */
int lb_take_names(PyObject *fields, PyObject *site);
/* Whether a value is a plain one, which has a text without anybody's code: an exact str, int, float, bool or None. */
int lb_is_plain(PyObject *value);
/* What a dict says to yes or no: a bool or (after fileConfig) an int; -1 for anything else. */
int lb_flag(PyObject *dict, PyObject *name);

/* ── module.c: names that the interpreter is asked with ────────────────────────────────────────────────────────── */

typedef struct {
    PyObject **to; /* NULL, or interned before */
    const char *text;
} lb_text;

/* Interns each text, for good; 0, or -1 with an exception. */
int lb_intern(const lb_text *texts, size_t count);
#define LB_INTERN(texts) lb_intern(texts, sizeof(texts) / sizeof *(texts))

/* ── each file's part of the module; 0, or -1 with an exception ────────────────────────────────────────────────── */

int lb_add_slots(PyObject *module);
int lb_add_buffer(PyObject *module);
int lb_add_frames(PyObject *module);
int lb_add_take(PyObject *module);
int lb_add_record(PyObject *module);
int lb_add_fast(PyObject *module);
int lb_add_call(PyObject *module);

#endif
