/* The records of a frame as lines of JSON, byte for byte as logbus.collectors.format.json writes them with msgspec.
 *
 *     {"timestamp":"2026-11-24T03:55:08.123456Z","level":…,"message":"…","logger":…,"request_id":…,"extra":{…}}
 *
 * What the records of a call site have in common (from "level" up to the message, and behind it) Python is asked for
 * once. A text is written as it stands in the frame, or as redaction has said; the caller sees to what never passes raw
 * and is not JSON's business.
 */
#include "rows.h"

#include <string.h>

/* ── bytes that grow ───────────────────────────────────────────────────────────────────────────────────────────── */

typedef struct {
    unsigned char *bytes;
    unsigned char *at;
    unsigned char *end;
} sheet;

#define LEAST_ROOM (64 * 1024)
/* Bytes of a sheet that is kept for the next frame. What is written leaves it as an object of just its size: lines wait
 * in queues, and objects that were cut to their size would leave holes between them. */
#define MOST_KEPT (2 * 1024 * 1024)

/* The one that is kept; NULL while it is in use. */
static sheet blank;

static sheet begin_sheet(void)
{
    sheet taken = blank;
    taken.at = taken.bytes;
    memset(&blank, 0, sizeof blank);
    return taken;
}

/* What was written, as bytes (NULL with an exception), or nothing but the end. */
static PyObject *end_sheet(sheet *sheet, int whole)
{
    PyObject *written =
        whole ? PyBytes_FromStringAndSize((char *)sheet->bytes, sheet->bytes ? sheet->at - sheet->bytes : 0) : NULL;
    if (blank.bytes == NULL && sheet->bytes != NULL && sheet->end - sheet->bytes <= MOST_KEPT)
        blank = *sheet;
    else
        PyMem_RawFree(sheet->bytes);
    return written;
}

static int widen(sheet *sheet, size_t more)
{
    size_t written = sheet->bytes ? (size_t)(sheet->at - sheet->bytes) : 0;
    size_t room = sheet->bytes ? (size_t)(sheet->end - sheet->bytes) : LEAST_ROOM;
    if (more > PY_SSIZE_T_MAX / 4 - written) {
        PyErr_NoMemory();
        return -1;
    }
    while (room - written < more)
        room *= 2;
    unsigned char *bytes = PyMem_RawRealloc(sheet->bytes, room);
    if (bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    sheet->bytes = bytes;
    sheet->at = bytes + written;
    sheet->end = bytes + room;
    return 0;
}

static inline int reserve(sheet *sheet, size_t more)
{
    return (size_t)(sheet->end - sheet->at) >= more ? 0 : widen(sheet, more);
}

static inline int put(sheet *sheet, const void *bytes, size_t length)
{
    if (reserve(sheet, length) < 0)
        return -1;
    memcpy(sheet->at, bytes, length);
    sheet->at += length;
    return 0;
}

static inline int put_bytes(sheet *sheet, PyObject *bytes)
{
    return put(sheet, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
}

#define PUT(sheet, text) put(sheet, text, sizeof(text) - 1)

/* ── values ────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* Whether one of eight bytes is a control character, a quote or a backslash. */
static inline int has_special(uint64_t eight)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t quote = eight ^ (ones * '"'), slash = eight ^ (ones * '\\');
    return (((eight - ones * 0x20) | (quote - ones) | (slash - ones)) & ~eight & tops) != 0;
}

static inline unsigned char *escape(unsigned char *to, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    *to++ = '\\';
    switch (byte) {
    case '"':
    case '\\':
        *to++ = byte;
        return to;
    case '\b':
        *to++ = 'b';
        return to;
    case '\t':
        *to++ = 't';
        return to;
    case '\n':
        *to++ = 'n';
        return to;
    case '\f':
        *to++ = 'f';
        return to;
    case '\r':
        *to++ = 'r';
        return to;
    default:
        memcpy(to, "u00", 3);
        to[3] = (unsigned char)digits[byte >> 4];
        to[4] = (unsigned char)digits[byte & 15];
        return to + 5;
    }
}

static int put_text(sheet *sheet, const lc_text *text)
{
    if (text->fate == LC_CHANGED)
        return put_bytes(sheet, text->instead);
    if (reserve(sheet, (size_t)text->length * 6 + 2) < 0)
        return -1;
    const unsigned char *from = text->bytes, *end = from + text->length;
    unsigned char *to = sheet->at;
    *to++ = '"';
    while (from < end) {
        uint64_t eight;
        while (end - from >= 8) {
            memcpy(&eight, from, 8);
            if (has_special(eight))
                break;
            memcpy(to, &eight, 8);
            from += 8;
            to += 8;
        }
        for (int one = 0; one < 8 && from < end; one++, from++) {
            if (*from < 0x20 || *from == '"' || *from == '\\')
                to = escape(to, *from);
            else
                *to++ = *from;
        }
    }
    *to++ = '"';
    sheet->at = to;
    return 0;
}

static int put_unsigned(sheet *sheet, uint64_t value, int negative)
{
    unsigned char digits[21], *first = digits + sizeof digits;
    do {
        *--first = (unsigned char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    if (negative)
        *--first = '-';
    return put(sheet, first, (size_t)(digits + sizeof digits - first));
}

static int put_float(sheet *sheet, double value, PyObject *write_float)
{
    PyObject *number = PyFloat_FromDouble(value);
    PyObject *text = number == NULL ? NULL : PyObject_CallOneArg(write_float, number);
    Py_XDECREF(number);
    if (text == NULL)
        return -1;
    int done = -1;
    if (PyBytes_Check(text))
        done = put_bytes(sheet, text);
    else
        PyErr_SetString(PyExc_TypeError, "a float was not written as bytes");
    Py_DECREF(text);
    return done;
}

static int put_scalar(sheet *sheet, const lc_rows *rows, uint32_t place, PyObject *write_float)
{
    const unsigned char *start = rows->frame.buf, *at = start + place;
    lc_value value;
    switch (lc_scalar(&at, start + rows->frame.len, &value)) {
    case LC_NIL:
        return PUT(sheet, "null");
    case LC_TRUE:
        return PUT(sheet, "true");
    case LC_FALSE:
        return PUT(sheet, "false");
    case LC_SIGNED:
        return put_unsigned(sheet, value.number < 0 ? -(uint64_t)value.number : (uint64_t)value.number,
                            value.number < 0);
    case LC_UNSIGNED:
        return put_unsigned(sheet, value.large, 0);
    case LC_FLOAT:
        return put_float(sheet, value.real, write_float);
    default:
        PyErr_SetString(PyExc_SystemError, "a value of a frame has changed");
        return -1;
    }
}

/* ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────── */

#define FIRST_US INT64_C(-62135596800000000)
#define LAST_US INT64_C(253402300799999999)
#define SECOND_CHARS 19

static unsigned char *put_digits(unsigned char *to, unsigned value, int digits)
{
    for (int one = digits - 1; one >= 0; one--, value /= 10)
        to[one] = (unsigned char)('0' + value % 10);
    return to + digits;
}

/* A second since the epoch in RFC 3339, without a zone. The calendar of days is counted from March on, in eras of 400
 * years, in which leap days come at the end (H. Hinnant, "chrono-compatible low-level date algorithms"). */
static void write_second(unsigned char to[SECOND_CHARS], int64_t second)
{
    int64_t days = second / 86400;
    int64_t rest = second % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    days += 719468; /* from 0000-03-01 */
    int64_t era = days / 146097; /* never below: the first time is in year 1 */
    unsigned of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted = (5 * of_year + 2) / 153;
    unsigned day = of_year - (153 * shifted + 2) / 5 + 1;
    unsigned month = shifted < 10 ? shifted + 3 : shifted - 9;
    unsigned year = (unsigned)(era * 400) + year_of_era + (month <= 2);
    to = put_digits(to, year, 4);
    *to++ = '-';
    to = put_digits(to, month, 2);
    *to++ = '-';
    to = put_digits(to, day, 2);
    *to++ = 'T';
    to = put_digits(to, (unsigned)(rest / 3600), 2);
    *to++ = ':';
    to = put_digits(to, (unsigned)(rest / 60 % 60), 2);
    *to++ = ':';
    put_digits(to, (unsigned)(rest % 60), 2);
}

/* ── what the lines of a call site have in common ──────────────────────────────────────────────────────────────── */

typedef struct {
    uint64_t of;    /* thread and call site, and one; 0: nothing */
    PyObject *both; /* (lead, tail): bytes */
} common;

/* What encode() is given, and what it has found out. */
typedef struct {
    lc_rows *rows;
    PyObject *opening;     /* {"timestamp":" */
    PyObject *parts;       /* (site, thread) → (lead, tail) */
    PyObject *empty;       /* JSON of a message without text */
    PyObject *mask;        /* JSON of what stands for a secret */
    PyObject *extra;       /* ,"extra":{ */
    PyObject *write_float;
    PyObject *keys;        /* a list: for each key ("key":, whether it stands at the top of a line) */
    PyObject *others;      /* a dict: lines of records that are Python's */
    common *common;
    uint64_t mask_of_common;
    int64_t second;
    unsigned char shown[SECOND_CHARS];
    int knows_second;
} task;

/* Borrowed; NULL with an exception. */
static PyObject *common_of(task *task, uint32_t site, uint32_t thread)
{
    uint64_t of = ((uint64_t)thread << 32 | site) + 1;
    uint64_t at = (of * UINT64_C(0x9E3779B97F4A7C15)) >> 32;
    for (;; at++) {
        common *found = &task->common[at & task->mask_of_common];
        if (found->of == of)
            return found->both;
        if (found->of != 0)
            continue;
        PyObject *both = PyObject_CallFunction(task->parts, "II", site, thread);
        if (both == NULL)
            return NULL;
        if (!PyTuple_Check(both) || PyTuple_GET_SIZE(both) != 2 || !PyBytes_Check(PyTuple_GET_ITEM(both, 0)) ||
            !PyBytes_Check(PyTuple_GET_ITEM(both, 1))) {
            Py_DECREF(both);
            PyErr_SetString(PyExc_TypeError, "expected two parts of a line as bytes");
            return NULL;
        }
        found->of = of;
        found->both = both;
        return both;
    }
}

/* ── lines ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

static int put_time(sheet *sheet, task *task, int64_t time_us)
{
    int64_t time = time_us < FIRST_US ? FIRST_US : time_us > LAST_US ? LAST_US : time_us;
    int64_t micros = time % 1000000, second = time / 1000000;
    if (micros < 0) {
        micros += 1000000;
        second--;
    }
    if (!task->knows_second || second != task->second) {
        write_second(task->shown, second);
        task->second = second;
        task->knows_second = 1;
    }
    if (put_bytes(sheet, task->opening) < 0 || reserve(sheet, SECOND_CHARS + 9) < 0)
        return -1;
    memcpy(sheet->at, task->shown, SECOND_CHARS);
    sheet->at[SECOND_CHARS] = '.';
    sheet->at = put_digits(sheet->at + SECOND_CHARS + 1, (unsigned)micros, 6);
    *sheet->at++ = 'Z';
    *sheet->at++ = '"';
    return 0;
}

static int put_pair(sheet *sheet, task *task, const lc_pair *pair, int first)
{
    const lc_rows *rows = task->rows;
    if (!first && PUT(sheet, ",") < 0)
        return -1;
    if (put_bytes(sheet, PyTuple_GET_ITEM(PyList_GET_ITEM(task->keys, pair->text), 0)) < 0)
        return -1;
    lc_verdict verdict = rows->verdicts == NULL ? LC_PLAIN : rows->verdicts[pair->text];
    if (verdict == LC_SECRET || (verdict == LC_UNLESS_NUMBER && pair->is_text))
        return put_bytes(sheet, task->mask);
    if (pair->is_text)
        return put_text(sheet, &rows->texts.texts[pair->value]);
    return put_scalar(sheet, rows, pair->value, task->write_float);
}

static int put_line(sheet *sheet, task *task, const lc_row *row)
{
    const lc_rows *rows = task->rows;
    PyObject *both = common_of(task, row->site, row->thread);
    if (both == NULL || put_time(sheet, task, row->time_us) < 0 || put_bytes(sheet, PyTuple_GET_ITEM(both, 0)) < 0)
        return -1;
    if (row->message == LC_NONE ? put_bytes(sheet, task->empty) < 0
                                : put_text(sheet, &rows->texts.texts[row->message]) < 0)
        return -1;
    if (put_bytes(sheet, PyTuple_GET_ITEM(both, 1)) < 0)
        return -1;
    uint32_t rest = 0;
    const lc_pair *pairs = rows->pairs + row->pairs;
    for (uint32_t one = 0; one < row->many; one++) {
        if (PyTuple_GET_ITEM(PyList_GET_ITEM(task->keys, pairs[one].text), 1) != Py_True)
            rest++;
        else if (put_pair(sheet, task, &pairs[one], 0) < 0)
            return -1;
    }
    if (rest > 0 && put_bytes(sheet, task->extra) < 0)
        return -1;
    int first = 1;
    for (uint32_t one = 0; rest > 0 && one < row->many; one++) {
        if (PyTuple_GET_ITEM(PyList_GET_ITEM(task->keys, pairs[one].text), 1) == Py_True)
            continue;
        if (put_pair(sheet, task, &pairs[one], first) < 0)
            return -1;
        first = 0;
    }
    return (rest > 0 ? PUT(sheet, "}}\n") : PUT(sheet, "}\n"));
}

static int put_other(sheet *sheet, task *task, uint32_t at)
{
    PyObject *number = PyLong_FromUnsignedLong(at);
    if (number == NULL)
        return -1;
    PyObject *line = PyDict_GetItemWithError(task->others, number);
    int done = -1;
    if (line != NULL && PyBytes_Check(line))
        done = put_bytes(sheet, line);
    else if (!PyErr_Occurred())
        PyErr_Format(PyExc_KeyError, "no line for record %u", at);
    Py_DECREF(number);
    return done;
}

static int put_lines(sheet *sheet, task *task, PyObject *chosen)
{
    Py_ssize_t many = chosen == NULL ? (Py_ssize_t)task->rows->count : PySequence_Fast_GET_SIZE(chosen);
    for (Py_ssize_t one = 0; one < many; one++) {
        size_t at = (size_t)one;
        if (chosen != NULL) {
            at = PyLong_AsSize_t(PySequence_Fast_GET_ITEM(chosen, one));
            if (at == (size_t)-1 && PyErr_Occurred())
                return -1;
            if (at >= task->rows->count) {
                PyErr_SetString(PyExc_IndexError, "there is no such record");
                return -1;
            }
        }
        const lc_row *row = &task->rows->rows[at];
        if ((row->state == LC_UNUSUAL ? put_other(sheet, task, (uint32_t)at) : put_line(sheet, task, row)) < 0)
            return -1;
    }
    return 0;
}

static int is_fit(task *task)
{
    PyObject *texts[] = {task->opening, task->empty, task->mask, task->extra};
    for (size_t one = 0; one < sizeof texts / sizeof *texts; one++)
        if (!PyBytes_Check(texts[one]))
            return 0;
    if (!PyList_Check(task->keys) || PyList_GET_SIZE(task->keys) != (Py_ssize_t)task->rows->keys.count ||
        !PyDict_Check(task->others))
        return 0;
    for (Py_ssize_t one = 0; one < PyList_GET_SIZE(task->keys); one++) {
        PyObject *key = PyList_GET_ITEM(task->keys, one);
        if (!PyTuple_Check(key) || PyTuple_GET_SIZE(key) != 2 || !PyBytes_Check(PyTuple_GET_ITEM(key, 0)))
            return 0;
    }
    return 1;
}

PyObject *lc_encode(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    lc_rows *self = (lc_rows *)object;
    if (count != 5 || !PyTuple_Check(args[0]) || PyTuple_GET_SIZE(args[0]) != 5) {
        PyErr_SetString(PyExc_TypeError, "encode() takes (opening, empty, mask, extra, write_float), parts, keys, "
                                         "others and what is chosen");
        return NULL;
    }
    task task = {
        .rows = self,
        .opening = PyTuple_GET_ITEM(args[0], 0),
        .empty = PyTuple_GET_ITEM(args[0], 1),
        .mask = PyTuple_GET_ITEM(args[0], 2),
        .extra = PyTuple_GET_ITEM(args[0], 3),
        .write_float = PyTuple_GET_ITEM(args[0], 4),
        .parts = args[1],
        .keys = args[2],
        .others = args[3],
    };
    if (!is_fit(&task)) {
        PyErr_SetString(PyExc_TypeError, "expected bytes, a list with a pair for each key, and a dict");
        return NULL;
    }
    PyObject *chosen = NULL;
    if (args[4] != Py_None && (chosen = PySequence_Fast(args[4], "expected a sequence of int")) == NULL)
        return NULL;
    uint64_t cells = 16;
    while (cells < (uint64_t)self->count * 2)
        cells *= 2;
    task.mask_of_common = cells - 1;
    task.common = PyMem_RawCalloc(cells, sizeof *task.common);
    sheet sheet = begin_sheet();
    int done = -1;
    if (task.common == NULL)
        PyErr_NoMemory();
    else
        done = put_lines(&sheet, &task, chosen);
    for (uint64_t at = 0; task.common != NULL && at < cells; at++)
        Py_XDECREF(task.common[at].both);
    PyMem_RawFree(task.common);
    Py_XDECREF(chosen);
    return end_sheet(&sheet, done == 0);
}
