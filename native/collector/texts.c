/* The different texts of a frame, each once, and a memory of those of earlier frames.
 *
 * Both are tables with open addresses. A search looks at no more than PROBES cells, so that texts which were chosen to
 * collide cost what others do: such a text gets a number of its own, or is not remembered. The hash begins with a number
 * that only this process knows.
 */
#include "rows.h"

#include <string.h>

#define PROBES 12
#define LEAST_CELLS 1024

static uint64_t seed;

static inline uint64_t fold(uint64_t one, uint64_t other)
{
    __uint128_t product = (__uint128_t)one * other;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t word(const unsigned char *at)
{
    uint64_t found;
    memcpy(&found, at, sizeof found);
    return found;
}

static uint64_t hash_of(const unsigned char *bytes, uint32_t length)
{
    const uint64_t odd = 0x9E3779B97F4A7C15u, other = 0xD6E8FEB86659FD93u;
    uint64_t hash = seed ^ (length * odd);
    const unsigned char *end = bytes + length;
    if (length >= 8) {
        for (; end - bytes > 8; bytes += 8)
            hash = fold(hash ^ word(bytes), odd);
        return fold(fold(hash ^ word(end - 8), odd) ^ seed, other);
    }
    uint64_t rest = 0;
    memcpy(&rest, bytes, length);
    return fold(fold(hash ^ rest, odd) ^ seed, other);
}

/* ── of a frame ────────────────────────────────────────────────────────────────────────────────────────────────── */

int lc_begin_texts(lc_texts *texts, uint32_t expected)
{
    uint32_t cells = LEAST_CELLS;
    while (cells < expected * (uint64_t)2 && cells < 1u << 30)
        cells *= 2;
    memset(texts, 0, sizeof *texts);
    texts->room = 64;
    texts->texts = PyMem_RawMalloc(texts->room * sizeof *texts->texts);
    texts->cells = PyMem_RawCalloc(cells, sizeof *texts->cells);
    texts->mask = cells - 1;
    if (texts->texts == NULL || texts->cells == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

void lc_end_texts(lc_texts *texts)
{
    for (uint32_t at = 0; at < texts->count; at++)
        Py_CLEAR(texts->texts[at].instead);
    PyMem_RawFree(texts->texts);
    PyMem_RawFree(texts->cells);
    memset(texts, 0, sizeof *texts);
}

static void place(lc_texts *texts, uint32_t number)
{
    lc_text *text = &texts->texts[number];
    text->cell = LC_NONE;
    for (uint32_t step = 0; step < PROBES; step++) {
        uint32_t cell = ((uint32_t)text->hash + step) & texts->mask;
        if (texts->cells[cell] == 0) {
            texts->cells[cell] = number + 1;
            text->cell = cell;
            return;
        }
    }
}

static int make_room(lc_texts *texts)
{
    uint32_t room = texts->room * 2;
    lc_text *more = PyMem_RawRealloc(texts->texts, (size_t)room * sizeof *more);
    if (more == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    texts->texts = more;
    texts->room = room;
    if ((uint64_t)room * 2 <= (uint64_t)texts->mask + 1)
        return 0;
    uint32_t cells = (texts->mask + 1) * 2;
    uint32_t *wider = PyMem_RawCalloc(cells, sizeof *wider);
    if (wider == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    PyMem_RawFree(texts->cells);
    texts->cells = wider;
    texts->mask = cells - 1;
    for (uint32_t at = 0; at < texts->count; at++)
        place(texts, at);
    return 0;
}

uint32_t lc_enter(lc_texts *texts, const unsigned char *bytes, uint32_t length)
{
    uint64_t hash = hash_of(bytes, length);
    for (uint32_t step = 0; step < PROBES; step++) {
        uint32_t found = texts->cells[((uint32_t)hash + step) & texts->mask];
        if (found == 0)
            break;
        const lc_text *text = &texts->texts[found - 1];
        if (text->hash == hash && text->length == length && memcmp(text->bytes, bytes, length) == 0)
            return found - 1;
    }
    if (texts->count == texts->room && make_room(texts) < 0)
        return LC_NONE;
    uint32_t number = texts->count++;
    texts->texts[number] = (lc_text){.bytes = bytes, .length = length, .hash = hash};
    place(texts, number);
    return number;
}

void lc_withdraw(lc_texts *texts, uint32_t count)
{
    /* The last one was placed last: no other was led past its cell. */
    while (texts->count > count) {
        const lc_text *text = &texts->texts[--texts->count];
        if (text->cell != LC_NONE)
            texts->cells[text->cell] = 0;
    }
}

/* ── of earlier frames ─────────────────────────────────────────────────────────────────────────────────────────── */

typedef struct {
    unsigned char *bytes;
    uint32_t length;
    uint64_t hash;
    PyObject *instead; /* NULL where the text stays */
} kept;

struct lc_memo {
    PyObject_HEAD
    kept *texts;
    uint32_t count;
    uint32_t most;
    uint32_t most_bytes; /* of a text */
    uint32_t *cells;
    uint32_t mask;
};

static PyTypeObject *memo_type;

lc_memo *lc_memo_of(PyObject *argument)
{
    if (Py_TYPE(argument) == memo_type)
        return (lc_memo *)argument;
    PyErr_Format(PyExc_TypeError, "expected a Memo, found %.100s", Py_TYPE(argument)->tp_name);
    return NULL;
}

static kept *find(lc_memo *memo, const lc_text *text, uint32_t *cell)
{
    *cell = LC_NONE;
    for (uint32_t step = 0; step < PROBES; step++) {
        uint32_t at = ((uint32_t)text->hash + step) & memo->mask;
        uint32_t found = memo->cells[at];
        if (found == 0) {
            *cell = at;
            return NULL;
        }
        kept *one = &memo->texts[found - 1];
        if (one->hash == text->hash && one->length == text->length &&
            memcmp(one->bytes, text->bytes, text->length) == 0)
            return one;
    }
    return NULL;
}

lc_fate lc_recall(lc_memo *memo, const lc_text *text, PyObject **instead)
{
    uint32_t cell;
    kept *found = text->length <= memo->most_bytes ? find(memo, text, &cell) : NULL;
    if (found == NULL)
        return LC_WAITING;
    *instead = found->instead;
    return found->instead == NULL ? LC_STAYS : LC_CHANGED;
}

static void forget(lc_memo *memo)
{
    while (memo->count > 0) {
        kept *one = &memo->texts[--memo->count];
        PyMem_RawFree(one->bytes);
        Py_CLEAR(one->instead); /* bytes: no Python code runs */
    }
    memset(memo->cells, 0, ((size_t)memo->mask + 1) * sizeof *memo->cells);
}

int lc_remember(lc_memo *memo, const lc_text *text)
{
    if (text->length > memo->most_bytes)
        return 0;
    uint32_t cell;
    kept *found = find(memo, text, &cell);
    if (found != NULL) {
        Py_XINCREF(text->instead);
        Py_XSETREF(found->instead, text->instead);
        return 0;
    }
    if (memo->count >= memo->most) {
        forget(memo);
        (void)find(memo, text, &cell);
    }
    if (cell == LC_NONE)
        return 0;
    unsigned char *bytes = PyMem_RawMalloc(text->length + 1);
    if (bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(bytes, text->bytes, text->length);
    Py_XINCREF(text->instead);
    memo->texts[memo->count++] = (kept){bytes, text->length, text->hash, text->instead};
    memo->cells[cell] = memo->count;
    return 0;
}

static PyObject *new_memo(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"texts", "length", NULL};
    int most, length;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "ii:Memo", names, &most, &length))
        return NULL;
    if (most < 1 || most > 1 << 20 || length < 0 || length > 1 << 20) {
        PyErr_SetString(PyExc_ValueError, "expected 1 to 1048576 texts of 0 to 1048576 bytes");
        return NULL;
    }
    lc_memo *memo = (lc_memo *)type->tp_alloc(type, 0);
    if (memo == NULL)
        return NULL;
    uint32_t cells = LEAST_CELLS;
    while (cells < (uint32_t)most * 2)
        cells *= 2;
    memo->most = (uint32_t)most;
    memo->most_bytes = (uint32_t)length;
    memo->mask = cells - 1;
    memo->cells = PyMem_RawCalloc(cells, sizeof *memo->cells);
    memo->texts = PyMem_RawCalloc(memo->most, sizeof *memo->texts);
    if (memo->cells == NULL || memo->texts == NULL) {
        Py_DECREF(memo);
        return PyErr_NoMemory();
    }
    return (PyObject *)memo;
}

static void free_memo(PyObject *self)
{
    lc_memo *memo = (lc_memo *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (memo->cells != NULL && memo->texts != NULL)
        forget(memo);
    PyMem_RawFree(memo->cells);
    PyMem_RawFree(memo->texts);
    type->tp_free(self);
    Py_DECREF(type);
}

static Py_ssize_t memo_length(PyObject *self)
{
    return ((lc_memo *)self)->count;
}

static PyType_Slot memo_slots[] = {
    {Py_tp_new, new_memo},
    {Py_tp_dealloc, free_memo},
    {Py_sq_length, memo_length},
    {Py_tp_doc, "Texts, and what redaction makes of them."},
    {0, NULL},
};

static PyType_Spec memo_spec = {
    .name = "logbus.collectors._native.Memo",
    .basicsize = sizeof(lc_memo),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = memo_slots,
};

int lc_add_memo(PyObject *module)
{
    PyObject *os = PyImport_ImportModule("os");
    PyObject *random = os == NULL ? NULL : PyObject_CallMethod(os, "urandom", "i", (int)sizeof seed);
    Py_XDECREF(os);
    if (random == NULL)
        return -1;
    if (!PyBytes_Check(random) || PyBytes_GET_SIZE(random) != sizeof seed) {
        Py_DECREF(random);
        PyErr_SetString(PyExc_TypeError, "os.urandom is not what it was");
        return -1;
    }
    memcpy(&seed, PyBytes_AS_STRING(random), sizeof seed);
    Py_DECREF(random);
    memo_type = (PyTypeObject *)PyType_FromSpec(&memo_spec);
    if (memo_type == NULL)
        return -1;
    return PyModule_AddObjectRef(module, "Memo", (PyObject *)memo_type);
}
