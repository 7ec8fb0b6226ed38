/* The bounded buffer between the threads that log and the sender thread: logbus.producers.buffer.Buffer, compiled.
 *
 * A record is written as msgpack where it is put, by the thread that logs: its values are at hand there, they end
 * there, and the sender only copies bytes. What can't be written as it is (exceptions, whose text is made by the
 * sender; lone surrogates) waits as a tuple of objects.
 *
 * There is one chain of entries per level bucket. Every change of chains and counters is made without a call that
 * could run Python code, so it is one step under the GIL, and a kill of the process finds page and chains as a log
 * call found or left them. What is evicted ends behind that step: its end may run Python code. Entries are not shown
 * to the garbage collector, which so need not go through them; nothing in them leads back to the buffer.
 */
#include "native.h"

#include <math.h>
#include <structmember.h>
#include <string.h>

typedef enum { SHED_LOWEST, DROP_NEWEST, DROP_OLDEST } policy;

static const char *const policies[] = {"shed_lowest", "drop_newest", "drop_oldest"};

typedef struct {
    lb_entry *first;
    lb_entry *last;
} chain;

typedef struct {
    PyObject_HEAD
    lb_slots slots;
    PyObject *wake;
    PyObject *hurry;
    PyObject *on_full;
    Py_ssize_t capacity;
    Py_ssize_t capacity_bytes;
    Py_ssize_t records; /* here and in the sender's hand */
    Py_ssize_t bytes;
    unsigned long long tickets;
    policy full;
    char asleep;
    char closed;
    chain chains[LB_BUCKETS];
    double first[2 * LB_BUCKETS]; /* times of drops: since the last look, by the high water mark and by the shutdown */
    double last[2 * LB_BUCKETS];
} buffer;

/* Level bucket from which on the sender is hurried, that of ERROR: a crash may follow. */
#define URGENT 4

/* ── entries ───────────────────────────────────────────────────────────────────────────────────────────────────── */

void lb_free_entries(lb_entry *entry)
{
    while (entry != NULL) {
        lb_entry *next = entry->next;
        Py_DECREF(entry->site);
        Py_DECREF(entry->thread);
        Py_XDECREF(entry->rest);
        PyMem_Free(entry);
        entry = next;
    }
}

/* An entry of its own for what stands in the writer, or for `rest` (a new reference). */
static lb_entry *new_entry(double created, PyObject *site, PyObject *thread, const lb_writer *written, PyObject *rest,
                           Py_ssize_t size)
{
    Py_ssize_t length = rest == NULL ? written->length : 0;
    lb_entry *entry = PyMem_Malloc(sizeof(lb_entry) + (size_t)length);
    if (entry == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    entry->next = NULL;
    entry->size = size;
    entry->created = created;
    entry->site = Py_NewRef(site);
    entry->thread = Py_NewRef(thread);
    entry->rest = rest;
    entry->length = length;
    if (length)
        memcpy(entry->bytes, written->bytes, (size_t)length);
    return entry;
}

static void append(chain *to, lb_entry *entry)
{
    if (to->first == NULL)
        to->first = entry;
    else
        to->last->next = entry;
    to->last = entry;
}

static lb_entry *pop(chain *from)
{
    lb_entry *entry = from->first;
    from->first = entry->next;
    entry->next = NULL;
    return entry;
}

/* ── drops ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* Drops don't come in the order of times: evictions take older records, after newer ones were refused. */
static void note(buffer *self, int at, double created)
{
    if (self->first[at] == 0.0 || created < self->first[at])
        self->first[at] = created;
    if (created > self->last[at])
        self->last[at] = created;
}

/* Any integer as logbus.levels.bucket_of has it; -1 with an exception for what is none. */
static int bucket_of(PyObject *site)
{
    if (!PyTuple_Check(site) || PyTuple_GET_SIZE(site) != 6) {
        PyErr_SetString(PyExc_TypeError, "a site is a tuple: logger, level number, level name, module, function, line");
        return -1;
    }
    int overflow;
    long level = PyLong_AsLongAndOverflow(PyTuple_GET_ITEM(site, 1), &overflow);
    if (level == -1 && PyErr_Occurred())
        return -1;
    if (overflow)
        return overflow < 0 ? 0 : LB_BUCKETS - 1;
    return level < 10 ? 0 : level >= 50 ? LB_BUCKETS - 1 : (int)(level / 10);
}

/* ── a record enters ───────────────────────────────────────────────────────────────────────────────────────────── */

static int lowest_below(const buffer *self, int bucket)
{
    for (int at = 0; at < bucket; at++)
        if (self->chains[at].first != NULL)
            return at;
    return -1;
}

static int oldest(const buffer *self)
{
    int best = -1;
    for (int at = 0; at < LB_BUCKETS; at++)
        if (self->chains[at].first != NULL &&
            (best < 0 || self->chains[at].first->ticket < self->chains[best].first->ticket))
            best = at;
    return best;
}

/* Evicts what the policy gives up until a record of this size fits; `gone` gets it. 0: the new one has to go. */
static int make_room(buffer *self, volatile uint64_t *cell, int bucket, Py_ssize_t size, chain *gone)
{
    while (self->records >= self->capacity || self->bytes + size > self->capacity_bytes) {
        if (self->full == DROP_NEWEST || size > self->capacity_bytes)
            return 0;
        int victims = self->full == SHED_LOWEST ? lowest_below(self, bucket) : oldest(self);
        if (victims < 0)
            return 0;
        lb_entry *entry = pop(&self->chains[victims]);
        self->records--;
        self->bytes -= entry->size;
        cell[lb_words.high_water_mark + victims]++;
        note(self, victims, entry->created);
        append(gone, entry);
    }
    return 1;
}

/* Puts an entry in, or drops it, and counts; the entry is the buffer's whatever comes. */
static int enter(buffer *self, int bucket, lb_entry *entry)
{
    volatile uint64_t *cell = lb_slot(&self->slots); /* behind the making of the entry: it may run Python code */
    if (cell == NULL) {
        lb_free_entries(entry);
        return -1;
    }
    chain gone = {NULL, NULL};
    int taken = 0;
    /* One step to the end. */
    cell[lb_words.emitted]++;
    if (self->closed) {
        cell[lb_words.shutdown + bucket]++;
        note(self, LB_BUCKETS + bucket, entry->created);
        append(&gone, entry);
    } else if (!make_room(self, cell, bucket, entry->size, &gone)) {
        cell[lb_words.high_water_mark + bucket]++;
        note(self, bucket, entry->created);
        append(&gone, entry);
    } else {
        entry->ticket = self->tickets++;
        entry->bucket = bucket;
        self->records++;
        self->bytes += entry->size;
        append(&self->chains[bucket], entry);
        taken = 1;
    }
    cell[lb_words.settled]++;
    PyObject *call = NULL;
    if (taken && bucket >= URGENT) {
        call = self->hurry;
    } else if (taken && self->asleep) {
        self->asleep = 0;
        call = self->wake;
    }
    Py_XINCREF(call);
    lb_free_entries(gone.first);
    if (call == NULL)
        return 0;
    int waking = bucket < URGENT;
    PyObject *done = PyObject_CallNoArgs(call);
    Py_DECREF(call);
    Py_XDECREF(done);
    if (done == NULL && (PyErr_ExceptionMatches(PyExc_RecursionError) || PyErr_ExceptionMatches(PyExc_MemoryError))) {
        /* The record is in: whoever was told otherwise would put it in again. The next one wakes the reader. */
        PyErr_Clear();
        if (waking)
            self->asleep = 1;
        return 0;
    }
    return done == NULL ? -1 : 0;
}

/* For a record that no memory is left for: it is counted all the same. The exception stays. */
static int give_up(buffer *self, int bucket, double created)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    volatile uint64_t *cell = lb_slot(&self->slots);
    if (cell != NULL) {
        cell[lb_words.emitted]++;
        cell[lb_words.unencodable + bucket]++;
        cell[lb_words.settled]++;
        note(self, bucket, created);
    } else {
        PyErr_Clear();
    }
    PyErr_Restore(type, value, traceback);
    return -1;
}

int lb_put_written(PyObject *object, double created, PyObject *site, PyObject *thread, Py_ssize_t size)
{
    buffer *self = (buffer *)object;
    int bucket = bucket_of(site);
    if (bucket < 0)
        return -1;
    lb_entry *entry = new_entry(created, site, thread, lb_written(), NULL, size);
    return entry == NULL ? give_up(self, bucket, created) : enter(self, bucket, entry);
}

static lb_outcome write_parts(lb_writer *writer, PyObject *message, PyObject *extra, PyObject *nested)
{
    lb_outcome outcome = lb_write_str(writer, message);
    if (outcome == LB_WRITTEN)
        outcome = extra == Py_None ? lb_write_nil(writer) : lb_write_fields(writer, extra);
    if (outcome == LB_WRITTEN)
        outcome = nested == Py_None ? lb_write_nil(writer) : lb_write_tree(writer, nested, LB_DEPTH);
    if (outcome == LB_WRITTEN)
        outcome = lb_write_nil(writer);
    return outcome == LB_WRITTEN && writer->length > LB_MOST_BYTES ? LB_UNUSUAL : outcome;
}

PyDoc_STRVAR(put_doc,
"put($self, created, site, thread, message, extra, nested, exception, size, /)\n--\n\n"
"As logbus.producers.buffer.Buffer.put.");

static PyObject *put(buffer *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 8) {
        PyErr_Format(PyExc_TypeError, "put() takes 8 arguments (%zd given)", count);
        return NULL;
    }
    PyObject *site = args[1], *thread = args[2], *exception = args[6];
    double created = PyFloat_AsDouble(args[0]);
    if (created == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return NULL;
        PyErr_Clear(); /* no time at all: the sender gives it the present */
        created = NAN;
    }
    Py_ssize_t size = PyLong_AsSsize_t(args[7]);
    if (size == -1 && PyErr_Occurred())
        return NULL;
    int bucket = bucket_of(site);
    if (bucket < 0)
        return NULL;
    lb_writer *writer = lb_begin();
    lb_outcome outcome = exception == Py_None ? write_parts(writer, args[3], args[4], args[5]) : LB_UNUSUAL;
    PyObject *rest = NULL;
    if (outcome == LB_UNUSUAL) {
        rest = PyTuple_Pack(4, args[3], args[4], args[5], exception);
        if (rest == NULL)
            outcome = LB_ERROR;
    }
    lb_entry *entry = outcome == LB_ERROR ? NULL : new_entry(created, site, thread, writer, rest, size);
    if (entry == NULL) {
        give_up(self, bucket, created);
        Py_XDECREF(rest);
        return NULL;
    }
    if (enter(self, bucket, entry) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyObject *lb_buffer_of(PyObject *emit)
{
    if (!PyCFunction_Check(emit) || PyCFunction_GET_FUNCTION(emit) != (PyCFunction)(void (*)(void))put)
        return NULL;
    return PyCFunction_GET_SELF(emit);
}

/* ── the sender's side ─────────────────────────────────────────────────────────────────────────────────────────── */

PyDoc_STRVAR(take_doc,
"take($self, limit, limit_bytes, /)\n--\n\n"
"The oldest records, in their order: at most `limit` and about `limit_bytes`, one at least if there is one.\n\n"
"For the sender thread only. They stay counted in `records` and `bytes` until release().");

static PyObject *take(buffer *self, PyObject *args)
{
    Py_ssize_t limit, limit_bytes, total = 0;
    if (!PyArg_ParseTuple(args, "nn:take", &limit, &limit_bytes))
        return NULL;
    lb_batch *batch = lb_new_batch(); /* first: what has left the chains is in it, whatever comes */
    if (batch == NULL)
        return NULL;
    chain taken = {NULL, NULL};
    Py_ssize_t records = 0;
    while (records < limit) {
        int at = oldest(self);
        if (at < 0 || (records && total + self->chains[at].first->size > limit_bytes))
            break;
        lb_entry *entry = pop(&self->chains[at]);
        total += entry->size;
        records++;
        append(&taken, entry);
    }
    batch->first = taken.first;
    batch->last = taken.last;
    batch->records = records;
    return (PyObject *)batch;
}

PyDoc_STRVAR(ticket_doc,
"ticket($self, /)\n--\n\nA point in the order of entries: those that are in here now come before it.");

static PyObject *ticket(buffer *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLongLong(self->tickets++);
}

PyDoc_STRVAR(release_doc,
"release($self, records, size, /)\n--\n\n"
"Ends the count of entries that have been sent (or dropped by the sender, who counts that).");

static PyObject *release(buffer *self, PyObject *args)
{
    Py_ssize_t records, size;
    if (!PyArg_ParseTuple(args, "nn:release", &records, &size))
        return NULL;
    self->records -= records;
    self->bytes -= size;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(span_doc,
"span($self, reason, bucket, /)\n--\n\n"
"First and last time (epoch seconds) of the drops since the last call; zeros when none was noted.");

static PyObject *span(buffer *self, PyObject *args)
{
    Py_ssize_t reason, bucket;
    if (!PyArg_ParseTuple(args, "nn:span", &reason, &bucket))
        return NULL;
    if (bucket < 0 || bucket >= LB_BUCKETS) {
        PyErr_SetString(PyExc_IndexError, "no such level bucket");
        return NULL;
    }
    Py_ssize_t at = (reason == lb_words.shutdown_reason ? LB_BUCKETS : 0) + bucket;
    double first = self->first[at], last = self->last[at];
    self->first[at] = self->last[at] = 0.0;
    return Py_BuildValue("dd", first, last);
}

/* ── the type ──────────────────────────────────────────────────────────────────────────────────────────────────── */

static int init(buffer *self, PyObject *args, PyObject *named)
{
    static char *names[] = {"capacity", "capacity_bytes", "on_full", "counters", NULL};
    Py_ssize_t capacity, capacity_bytes;
    PyObject *on_full, *counters;
    if (self->slots.counters != NULL) {
        PyErr_SetString(PyExc_TypeError, "a buffer begins once");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(args, named, "nnUO:Buffer", names, &capacity, &capacity_bytes, &on_full,
                                     &counters))
        return -1;
    int full = -1;
    for (int at = SHED_LOWEST; at <= DROP_OLDEST; at++)
        if (PyUnicode_CompareWithASCIIString(on_full, policies[at]) == 0)
            full = at;
    if (full < 0) {
        PyErr_Format(PyExc_ValueError, "on_full: %R: expected 'shed_lowest', 'drop_newest' or 'drop_oldest'", on_full);
        return -1;
    }
    if (lb_begin_slots(&self->slots, counters) < 0)
        return -1;
    self->on_full = Py_NewRef(on_full);
    self->full = (policy)full;
    self->capacity = capacity;
    self->capacity_bytes = capacity_bytes;
    return 0;
}

static int traverse(buffer *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->slots.counters);
    Py_VISIT(self->slots.cells);
    Py_VISIT(self->wake);
    Py_VISIT(self->hurry);
    return 0;
}

static int clear(buffer *self)
{
    Py_CLEAR(self->wake);
    Py_CLEAR(self->hurry);
    return 0;
}

static void dealloc(buffer *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    for (int at = 0; at < LB_BUCKETS; at++) {
        lb_entry *first = self->chains[at].first;
        self->chains[at].first = NULL;
        lb_free_entries(first);
    }
    lb_end_slots(&self->slots);
    Py_CLEAR(self->on_full);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"put", (PyCFunction)(void (*)(void))put, METH_FASTCALL, put_doc},
    {"take", (PyCFunction)take, METH_VARARGS, take_doc},
    {"ticket", (PyCFunction)ticket, METH_NOARGS, ticket_doc},
    {"release", (PyCFunction)release, METH_VARARGS, release_doc},
    {"span", (PyCFunction)span, METH_VARARGS, span_doc},
    {NULL},
};

static PyMemberDef members[] = {
    {"asleep", T_BOOL, offsetof(buffer, asleep), 0, "Set by the reader before it sleeps: the next record wakes it."},
    {"wake", T_OBJECT_EX, offsetof(buffer, wake), 0, "How the reader is woken."},
    {"hurry", T_OBJECT_EX, offsetof(buffer, hurry), 0, "How it is told of a record that should not wait."},
    {"closed", T_BOOL, offsetof(buffer, closed), 0, "Set at shutdown: what comes now is dropped and counted."},
    {"capacity", T_PYSSIZET, offsetof(buffer, capacity), READONLY, "Records, at most."},
    {"capacity_bytes", T_PYSSIZET, offsetof(buffer, capacity_bytes), READONLY, "Bytes, at most."},
    {"on_full", T_OBJECT_EX, offsetof(buffer, on_full), READONLY, "The policy of a full buffer."},
    {"records", T_PYSSIZET, offsetof(buffer, records), READONLY, "Records here and in the sender's hand."},
    {"bytes", T_PYSSIZET, offsetof(buffer, bytes), READONLY, "Bytes of those."},
    {NULL},
};

static PyType_Slot buffer_slots[] = {
    {Py_tp_doc, "A buffer of at most `capacity` records and `capacity_bytes` bytes, whichever comes first."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, init},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_dealloc, dealloc},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {0, NULL},
};

static PyType_Spec buffer_spec = {
    "logbus.producers._native.Buffer", sizeof(buffer), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, buffer_slots,
};

int lb_add_buffer(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&buffer_spec);
    int added = type == NULL ? -1 : PyModule_AddObjectRef(module, "Buffer", type);
    Py_XDECREF(type);
    return added;
}
