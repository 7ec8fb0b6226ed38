/* Records of the buffer into payloads of DATA frames (logbus.wire): what logbus.producers.pack does, compiled.
 *
 * A payload is [source, sites, threads, records, drops]. The tables come before the records that point into them, so a
 * frame is made in two walks: the first gives each record its place in the tables, and asks Python for what only
 * Python can say (the row of a site seen for the first time, the text of an exception); the second writes all into one
 * bytes object of known size, and runs no Python code.
 */
#include "native.h"

#include <string.h>
#include <time.h>

/* Records in one frame, and so rows in one of its tables; a collector takes 4,096 of each. */
#define MAX_RECORDS 1024
/* Bytes of the heads of a payload: five arrays; and of a record: an array, a time, two places. */
#define HEADS 32
#define RECORD_HEADS 24
/* Bytes that the rows of one record take at most: names of 1,024 characters, each of them six where it is a lone
 * surrogate. */
#define ROWS_OF_A_RECORD (40 * 1024)

static PyTypeObject *batch_type;

/* ── batches ───────────────────────────────────────────────────────────────────────────────────────────────────── */

lb_batch *lb_new_batch(void)
{
    lb_batch *batch = PyObject_New(lb_batch, batch_type);
    if (batch != NULL) {
        batch->first = batch->last = NULL;
        batch->records = 0;
    }
    return batch;
}

static void batch_dealloc(lb_batch *self)
{
    PyTypeObject *type = Py_TYPE(self);
    lb_entry *first = self->first;
    self->first = NULL;
    lb_free_entries(first);
    PyObject_Free(self);
    Py_DECREF(type);
}

static Py_ssize_t batch_length(lb_batch *self)
{
    return self->records;
}

PyDoc_STRVAR(levels_doc,
"levels($self, /)\n--\n\nHow many records there are of each level bucket, and how many bytes they count for together.");

static PyObject *batch_levels(lb_batch *self, PyObject *Py_UNUSED(ignored))
{
    Py_ssize_t counts[LB_BUCKETS] = {0}, size = 0;
    for (lb_entry *entry = self->first; entry != NULL; entry = entry->next) {
        counts[entry->bucket]++;
        size += entry->size;
    }
    return Py_BuildValue("[nnnnnn]n", counts[0], counts[1], counts[2], counts[3], counts[4], counts[5], size);
}

PyDoc_STRVAR(entries_doc,
"entries($self, /)\n--\n\n"
"The records as tuples: ticket, size, created, site, thread, and the rest: four msgpack values (message, extra, nested,\n"
"exception) as bytes, or those four objects in a tuple.");

static PyObject *batch_entries(lb_batch *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *found = PyList_New(0);
    for (lb_entry *entry = self->first; found != NULL && entry != NULL; entry = entry->next) {
        PyObject *rest = entry->rest != NULL ? Py_NewRef(entry->rest)
                                             : PyBytes_FromStringAndSize((const char *)entry->bytes, entry->length);
        PyObject *row = rest == NULL ? NULL
                                     : Py_BuildValue("KndOON", entry->ticket, entry->size, entry->created, entry->site,
                                                     entry->thread, rest);
        if (row == NULL || PyList_Append(found, row) < 0)
            Py_CLEAR(found);
        Py_XDECREF(row);
    }
    return found;
}

static PyMethodDef batch_methods[] = {
    {"levels", (PyCFunction)batch_levels, METH_NOARGS, levels_doc},
    {"entries", (PyCFunction)batch_entries, METH_NOARGS, entries_doc},
    {NULL},
};

static PyType_Slot batch_slots[] = {
    {Py_tp_doc, "Records that the sender has taken: what Buffer.take returns."},
    {Py_tp_dealloc, batch_dealloc},
    {Py_sq_length, batch_length},
    {Py_tp_methods, batch_methods},
    {0, NULL},
};

static PyType_Spec batch_spec = {
    "logbus.producers._native.Batch", sizeof(lb_batch), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, batch_slots,
};

/* ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* A table of one frame: its rows, and their places by address: of the objects that they are for, and of the rows. */
typedef struct {
    PyObject *known; /* dict, kept from frame to frame: object → its row as msgpack, in bytes */
    PyObject *maker; /* what makes such a row, and may keep it there */
    PyObject **rows;
    Py_ssize_t count;
    Py_ssize_t bytes; /* of all rows */
    size_t slots;     /* open addressing, at most half full */
    struct place {
        PyObject *of; /* borrowed: from the entries of the batch, or from `rows` */
        int at;
    } *places;
} table;

static int begin_table(table *self, Py_ssize_t records, PyObject *known, PyObject *maker)
{
    self->known = known;
    self->maker = maker;
    self->count = self->bytes = 0;
    for (self->slots = 64; self->slots < (size_t)records * 4;)
        self->slots *= 2;
    self->rows = PyMem_Malloc((size_t)records * sizeof *self->rows + 1);
    self->places = PyMem_Calloc(self->slots, sizeof *self->places);
    if (self->rows != NULL && self->places != NULL)
        return 0;
    PyErr_NoMemory();
    return -1;
}

static void end_table(table *self)
{
    for (Py_ssize_t at = 0; at < self->count; at++)
        Py_DECREF(self->rows[at]);
    self->count = 0;
    PyMem_Free(self->rows);
    PyMem_Free(self->places);
    self->rows = NULL;
    self->places = NULL;
}

/* Where an object stands, or would. */
static struct place *find(table *self, PyObject *object)
{
    uintptr_t bits = (uintptr_t)object >> 4;
    size_t at = (bits ^ (bits >> 12)) & (self->slots - 1);
    while (self->places[at].of != NULL && self->places[at].of != object)
        at = (at + 1) & (self->slots - 1);
    return &self->places[at];
}

/* The row for an object, a new reference: that of an equal one, or what Python makes of it. */
static PyObject *row_of(table *self, PyObject *object)
{
    PyObject *row = PyDict_GetItemWithError(self->known, object);
    PyErr_Clear(); /* an object that can't be hashed: Python knows what to make of it */
    row = row == NULL ? PyObject_CallOneArg(self->maker, object) : Py_NewRef(row);
    if (row != NULL && !PyBytes_CheckExact(row)) {
        Py_SETREF(row, NULL);
        PyErr_SetString(PyExc_TypeError, "a row is bytes");
    }
    return row;
}

/* The place of an object's row in the table; -1 with an exception. */
static int place_of(table *self, PyObject *object)
{
    struct place *place = find(self, object);
    if (place->of != NULL)
        return place->at;
    PyObject *row = row_of(self, object);
    if (row == NULL)
        return -1;
    /* Equal objects have one row: a library may make a new tuple, or the name of a thread, for each record. */
    struct place *of_row = find(self, row);
    if (of_row->of == NULL) {
        of_row->of = row;
        of_row->at = (int)self->count;
        self->rows[self->count++] = row;
        self->bytes += PyBytes_GET_SIZE(row);
    } else {
        Py_DECREF(row);
    }
    int at = of_row->at;
    place = find(self, object); /* its slot may be that of the row now */
    place->of = object;
    place->at = at;
    return at;
}

static lb_outcome write_table(lb_writer *writer, const table *self)
{
    lb_outcome outcome = lb_write_array(writer, self->count);
    for (Py_ssize_t at = 0; outcome == LB_WRITTEN && at < self->count; at++)
        outcome = lb_write_raw(writer, PyBytes_AS_STRING(self->rows[at]), PyBytes_GET_SIZE(self->rows[at]));
    return outcome;
}

/* ── one frame ─────────────────────────────────────────────────────────────────────────────────────────────────── */

/* What all frames of a call have in common. */
typedef struct {
    PyObject *source, *sites, *site_row, *threads, *thread_row, *tail, *no_drops;
    Py_ssize_t limit; /* bytes of a payload */
} frames;

/* Microseconds of the epoch, in the range of logbus.producers.pack; the present for what is no time. */
static long long microseconds(double created)
{
    created *= 1000000.0;
    if (created >= -9223372036854775808.0 && created <= 9.2e18)
        return (long long)created;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Has Python write what the log call has left as objects: bytes stand in their place then, or None where nothing helps.
 * A second look finds what the first has left. */
static int finish(const frames *self, lb_entry *entry)
{
    if (entry->rest == NULL || !PyTuple_CheckExact(entry->rest))
        return 0;
    PyObject *rest = Py_NewRef(entry->rest); /* what it calls may finish this very record */
    PyObject *written = PyObject_CallObject(self->tail, rest);
    Py_DECREF(rest);
    if (written == NULL)
        return -1;
    if (written != Py_None && !PyBytes_CheckExact(written)) {
        Py_DECREF(written);
        PyErr_SetString(PyExc_TypeError, "what is left of a record is bytes, or None");
        return -1;
    }
    Py_SETREF(entry->rest, written);
    return 0;
}

static Py_ssize_t length_of(const lb_entry *entry)
{
    return entry->rest == NULL ? entry->length : PyBytes_GET_SIZE(entry->rest);
}

static lb_outcome write_record(lb_writer *writer, const lb_entry *entry)
{
    lb_outcome outcome = lb_write_array(writer, 7);
    if (outcome == LB_WRITTEN)
        outcome = lb_write_int(writer, microseconds(entry->created));
    if (outcome == LB_WRITTEN)
        outcome = lb_write_int(writer, entry->site_at);
    if (outcome == LB_WRITTEN)
        outcome = lb_write_int(writer, entry->thread_at);
    if (outcome == LB_WRITTEN)
        outcome = lb_write_raw(writer, entry->rest == NULL ? (const char *)entry->bytes : PyBytes_AS_STRING(entry->rest),
                               length_of(entry));
    return outcome;
}

static PyObject *write_frame(const frames *self, const table *sites, const table *threads, const lb_entry *from,
                             const lb_entry *to, Py_ssize_t records, PyObject *drops)
{
    lb_writer writer = {0};
    PyObject *payload = NULL;
    lb_outcome outcome = lb_write_array(&writer, 5);
    if (outcome == LB_WRITTEN)
        outcome = lb_write_raw(&writer, PyBytes_AS_STRING(self->source), PyBytes_GET_SIZE(self->source));
    if (outcome == LB_WRITTEN)
        outcome = write_table(&writer, sites);
    if (outcome == LB_WRITTEN)
        outcome = write_table(&writer, threads);
    if (outcome == LB_WRITTEN)
        outcome = lb_write_array(&writer, records);
    for (; outcome == LB_WRITTEN && from != to; from = from->next)
        if (from->rest != Py_None)
            outcome = write_record(&writer, from);
    if (outcome == LB_WRITTEN)
        outcome = lb_write_raw(&writer, PyBytes_AS_STRING(drops), PyBytes_GET_SIZE(drops));
    if (outcome == LB_WRITTEN)
        payload = PyBytes_FromStringAndSize((const char *)writer.bytes, writer.length);
    lb_free_writer(&writer);
    return payload;
}

/* Adds one frame to the list: the records from `from` on, as many as fit. The first that did not, or NULL; -1 in
 * `*failed` with an exception. */
static lb_entry *add_frame(const frames *self, PyObject *list, lb_entry *from, Py_ssize_t left, PyObject *drops,
                           int *failed)
{
    table sites = {0}, threads = {0};
    PyObject *row = NULL, *payload = NULL, *unencodable = PyList_New(0);
    Py_ssize_t most = left < MAX_RECORDS ? left : MAX_RECORDS, records = 0, size = 0, bytes = 0;
    unsigned long long last = 0;
    lb_entry *to = from;
    *failed = -1;
    if (unencodable == NULL || begin_table(&sites, most, self->sites, self->site_row) < 0 ||
        begin_table(&threads, most, self->threads, self->thread_row) < 0)
        goto done;
    Py_ssize_t room = self->limit - HEADS - PyBytes_GET_SIZE(self->source) - PyBytes_GET_SIZE(drops);
    for (Py_ssize_t at = 0; to != NULL && at < most; at++, to = to->next) {
        if (finish(self, to) < 0)
            goto done;
        if (to->rest == Py_None) {
            PyObject *bucket = PyLong_FromLong(to->bucket);
            if (bucket == NULL || PyList_Append(unencodable, bucket) < 0) {
                Py_XDECREF(bucket);
                goto done;
            }
            Py_DECREF(bucket);
        } else {
            Py_ssize_t more = RECORD_HEADS + length_of(to);
            if (records && bytes + sites.bytes + threads.bytes + more + ROWS_OF_A_RECORD > room)
                break;
            to->site_at = place_of(&sites, to->site);
            to->thread_at = to->site_at < 0 ? -1 : place_of(&threads, to->thread);
            if (to->thread_at < 0)
                goto done;
            bytes += more;
            records++;
        }
        size += to->size;
        last = to->ticket;
    }
    payload = records || drops != self->no_drops ? write_frame(self, &sites, &threads, from, to, records, drops)
                                                 : PyBytes_FromStringAndSize(NULL, 0);
    row = payload == NULL ? NULL : Py_BuildValue("OnnKO", payload, records, size, last, unencodable);
    if (row != NULL && PyList_Append(list, row) == 0)
        *failed = 0;
done:
    Py_XDECREF(row);
    Py_XDECREF(payload);
    Py_XDECREF(unencodable);
    end_table(&sites);
    end_table(&threads);
    return to;
}

PyDoc_STRVAR(pack_doc,
"pack(batch, source, sites, site_row, threads, thread_row, tail, drops, no_drops, limit, /)\n--\n\n"
"The payloads of DATA frames for these records (None: for no record), in order. With each: the number of its records,\n"
"the bytes that they and those that can't be encoded count for in the buffer, their last ticket, and the level buckets\n"
"of those that can't be encoded. A payload is empty where there is nothing to send.\n\n"
"source, drops (for the first frame) and no_drops (for all others) are msgpack already. sites and threads are dicts of\n"
"rows by site and by name of a thread; site_row and thread_row make one. tail(message, extra, nested, exception) writes\n"
"what no log call could: bytes, or None. limit is the number of bytes of a payload. Leaves the batch as it is: what\n"
"raised may be tried again.");

static PyObject *pack(PyObject *Py_UNUSED(module), PyObject *args)
{
    frames self;
    PyObject *object, *drops;
    if (!PyArg_ParseTuple(args, "OSO!OO!OOSSn:pack", &object, &self.source, &PyDict_Type, &self.sites, &self.site_row,
                          &PyDict_Type, &self.threads, &self.thread_row, &self.tail, &drops, &self.no_drops,
                          &self.limit))
        return NULL;
    if (object != Py_None && !Py_IS_TYPE(object, batch_type)) {
        PyErr_SetString(PyExc_TypeError, "pack() takes a Batch, or None");
        return NULL;
    }
    const lb_batch *batch = object == Py_None ? NULL : (lb_batch *)object;
    PyObject *list = PyList_New(0);
    lb_entry *from = batch == NULL ? NULL : batch->first;
    Py_ssize_t left = batch == NULL ? 0 : batch->records;
    int failed = list == NULL ? -1 : 0;
    while (!failed && (from != NULL || drops != self.no_drops)) {
        lb_entry *to = add_frame(&self, list, from, left, drops, &failed);
        for (; from != to; from = from->next)
            left--;
        drops = self.no_drops;
    }
    if (failed)
        Py_CLEAR(list);
    return list;
}

static PyMethodDef functions[] = {
    {"pack", pack, METH_VARARGS, pack_doc},
    {NULL},
};

int lb_add_frames(PyObject *module)
{
    batch_type = (PyTypeObject *)PyType_FromSpec(&batch_spec);
    if (batch_type == NULL || PyModule_AddObjectRef(module, "Batch", (PyObject *)batch_type) < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
