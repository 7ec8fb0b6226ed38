/* Redaction of the records of a frame: C says which texts nobody has looked at, Python what becomes of them.
 *
 * The order is that of Redactor._redact_rows: leave_out, fields, judge, unusual; look, holding, found, become as
 * often as need be; settle. Every text is waiting until it is known from earlier frames, or become() or settle() says
 * what becomes of it.
 */
#include "rows.h"

#include <string.h>

static PyObject *str_of(const lc_text *text)
{
    return PyUnicode_DecodeUTF8((const char *)text->bytes, text->length, "strict");
}

/* Nobody need look at texts that only such records have as are empty now. 0, or -1 with an exception. */
static int spare_texts(lc_rows *self)
{
    char *needed = PyMem_RawCalloc(self->texts.count + (size_t)1, 1);
    if (needed == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (uint32_t at = 0; at < self->count; at++) {
        const lc_row *row = &self->rows[at];
        if (row->message != LC_NONE)
            needed[row->message] = 1;
        for (uint32_t one = 0; one < row->many; one++)
            if (self->pairs[row->pairs + one].is_text)
                needed[self->pairs[row->pairs + one].value] = 1;
    }
    for (uint32_t at = 0; at < self->texts.count; at++)
        if (!needed[at])
            self->texts.texts[at].fate = LC_STAYS;
    PyMem_RawFree(needed);
    return 0;
}

PyObject *lc_leave_out(PyObject *object, PyObject *wanted)
{
    lc_rows *self = (lc_rows *)object;
    PyObject *wants = PySequence_Fast(wanted, "expected a sequence of bool");
    if (wants == NULL)
        return NULL;
    if (PySequence_Fast_GET_SIZE(wants) != (Py_ssize_t)self->sites) {
        Py_DECREF(wants);
        PyErr_Format(PyExc_ValueError, "expected %u answers, one for each call site", self->sites);
        return NULL;
    }
    char *answers = PyMem_RawCalloc(self->sites, 1);
    if (answers == NULL) {
        Py_DECREF(wants);
        return PyErr_NoMemory();
    }
    int failed = 0;
    for (uint32_t at = 0; at < self->sites && !failed; at++) {
        int answer = PyObject_IsTrue(PySequence_Fast_GET_ITEM(wants, at));
        failed = answer < 0;
        answers[at] = (char)answer;
    }
    Py_DECREF(wants);
    for (uint32_t at = 0; at < self->count && !failed; at++) {
        lc_row *row = &self->rows[at];
        if (row->state != LC_UNUSUAL && !answers[row->site]) {
            row->state = LC_LEFT_OUT;
            row->time_us = 0;
            row->thread = 0;
            row->message = LC_NONE;
            row->many = 0;
        }
    }
    PyMem_RawFree(answers);
    if (failed || spare_texts(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyObject *lc_fields(PyObject *object, PyObject *Py_UNUSED(unused))
{
    lc_rows *self = (lc_rows *)object;
    PyObject *found = PyList_New(self->keys.count);
    for (uint32_t at = 0; found != NULL && at < self->keys.count; at++) {
        PyObject *key = str_of(&self->keys.texts[at]);
        if (key == NULL)
            Py_CLEAR(found);
        else
            PyList_SET_ITEM(found, at, key);
    }
    return found;
}

PyObject *lc_judge(PyObject *object, PyObject *verdicts)
{
    lc_rows *self = (lc_rows *)object;
    if (!PyBytes_Check(verdicts) || PyBytes_GET_SIZE(verdicts) != (Py_ssize_t)self->keys.count) {
        PyErr_Format(PyExc_ValueError, "expected %u bytes, one for each key", self->keys.count);
        return NULL;
    }
    const unsigned char *given = (const unsigned char *)PyBytes_AS_STRING(verdicts);
    int strange = 0;
    for (uint32_t at = 0; at < self->keys.count; at++) {
        if (given[at] > LC_STRANGE) {
            PyErr_SetString(PyExc_ValueError, "expected verdicts of 0 to 3");
            return NULL;
        }
        strange |= given[at] == LC_STRANGE;
    }
    lc_verdict *kept = PyMem_RawRealloc(self->verdicts, (self->keys.count + (size_t)1) * sizeof *kept);
    if (kept == NULL)
        return PyErr_NoMemory();
    self->verdicts = kept;
    for (uint32_t at = 0; at < self->keys.count; at++)
        kept[at] = given[at];
    for (uint32_t at = 0; strange && at < self->count; at++) {
        lc_row *row = &self->rows[at];
        for (uint32_t one = 0; one < row->many; one++)
            if (kept[self->pairs[row->pairs + one].text] == LC_STRANGE) {
                row->state = LC_UNUSUAL;
                break;
            }
        if (row->state == LC_UNUSUAL)
            row->many = 0;
    }
    Py_RETURN_NONE;
}

PyObject *lc_unusual(PyObject *object, PyObject *Py_UNUSED(unused))
{
    lc_rows *self = (lc_rows *)object;
    PyObject *found = PyDict_New();
    for (uint32_t at = 0; found != NULL && at < self->count; at++) {
        const lc_row *row = &self->rows[at];
        if (row->state != LC_UNUSUAL)
            continue;
        PyObject *number = PyLong_FromUnsignedLong(at);
        PyObject *bytes = PyBytes_FromStringAndSize((const char *)self->frame.buf + row->at, row->length);
        if (number == NULL || bytes == NULL || PyDict_SetItem(found, number, bytes) < 0)
            Py_CLEAR(found);
        Py_XDECREF(number);
        Py_XDECREF(bytes);
    }
    return found;
}

static void change(lc_text *text, PyObject *instead)
{
    text->fate = instead == NULL ? LC_STAYS : LC_CHANGED;
    Py_XINCREF(instead);
    Py_XSETREF(text->instead, instead); /* bytes: no Python code runs */
}

PyObject *lc_look(PyObject *object, PyObject *argument)
{
    lc_rows *self = (lc_rows *)object;
    lc_memo *memo = lc_memo_of(argument);
    if (memo == NULL)
        return NULL;
    size_t bytes = 0;
    uint32_t waits = 0;
    for (uint32_t at = 0; at < self->texts.count; at++) {
        lc_text *text = &self->texts.texts[at];
        PyObject *instead = NULL;
        if (text->fate != LC_WAITING)
            continue;
        if (lc_recall(memo, text, &instead) != LC_WAITING) {
            change(text, instead);
            continue;
        }
        waits++;
        bytes += (size_t)text->length + 1;
    }
    uint32_t *waiting = PyMem_RawRealloc(self->waiting, (waits + (size_t)1) * sizeof *waiting);
    if (waiting != NULL)
        self->waiting = waiting;
    uint32_t *starts = PyMem_RawRealloc(self->starts, (waits + (size_t)1) * sizeof *starts);
    if (starts != NULL)
        self->starts = starts;
    if (waiting == NULL || starts == NULL) {
        self->waits = 0;
        return PyErr_NoMemory();
    }
    self->waits = waits;
    PyObject *whole = PyBytes_FromStringAndSize(NULL, waits ? (Py_ssize_t)bytes - 1 : 0);
    if (whole == NULL) {
        self->waits = 0;
        return NULL;
    }
    char *start = PyBytes_AS_STRING(whole), *to = start;
    uint32_t one = 0;
    for (uint32_t at = 0; one < waits; at++) {
        const lc_text *text = &self->texts.texts[at];
        if (text->fate != LC_WAITING)
            continue;
        if (one > 0)
            *to++ = '\n';
        waiting[one] = at;
        starts[one++] = (uint32_t)(to - start);
        memcpy(to, text->bytes, text->length);
        to += text->length;
    }
    starts[waits] = (uint32_t)(to - start) + 1;
    return whole;
}

PyObject *lc_holding(PyObject *object, PyObject *byte)
{
    lc_rows *self = (lc_rows *)object;
    if (!PyBytes_Check(byte) || PyBytes_GET_SIZE(byte) != 1) {
        PyErr_SetString(PyExc_TypeError, "expected one byte");
        return NULL;
    }
    PyObject *found = PyDict_New();
    for (uint32_t one = 0; found != NULL && one < self->waits; one++) {
        const lc_text *text = &self->texts.texts[self->waiting[one]];
        if (memchr(text->bytes, *PyBytes_AS_STRING(byte), text->length) == NULL)
            continue;
        PyObject *number = PyLong_FromUnsignedLong(self->waiting[one]), *value = str_of(text);
        if (number == NULL || value == NULL || PyDict_SetItem(found, number, value) < 0)
            Py_CLEAR(found);
        Py_XDECREF(number);
        Py_XDECREF(value);
    }
    return found;
}

PyObject *lc_found(PyObject *object, PyObject *argument)
{
    lc_rows *self = (lc_rows *)object;
    Py_ssize_t position = PyLong_AsSsize_t(argument);
    if (position == -1 && PyErr_Occurred())
        return NULL;
    if (position < 0 || self->waits == 0 || position >= (Py_ssize_t)self->starts[self->waits]) {
        PyErr_SetString(PyExc_IndexError, "no text waits there");
        return NULL;
    }
    uint32_t low = 0, high = self->waits; /* the last one that begins at or before the position */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if ((Py_ssize_t)self->starts[middle] <= position)
            low = middle;
        else
            high = middle;
    }
    PyObject *text = str_of(&self->texts.texts[self->waiting[low]]);
    if (text == NULL)
        return NULL;
    return Py_BuildValue("(INI)", self->waiting[low], text, self->starts[low + 1]);
}

PyObject *lc_become(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    lc_rows *self = (lc_rows *)object;
    if (count != 3 || !(args[1] == Py_None || PyBytes_Check(args[1]))) {
        PyErr_SetString(PyExc_TypeError, "become() takes the number of a text, its JSON or None, and a Memo or None");
        return NULL;
    }
    size_t number = PyLong_AsSize_t(args[0]);
    if (number == (size_t)-1 && PyErr_Occurred())
        return NULL;
    if (number >= self->texts.count) {
        PyErr_SetString(PyExc_IndexError, "there is no such text");
        return NULL;
    }
    lc_memo *memo = args[2] == Py_None ? NULL : lc_memo_of(args[2]);
    if (memo == NULL && args[2] != Py_None)
        return NULL;
    lc_text *text = &self->texts.texts[number];
    change(text, args[1] == Py_None ? NULL : args[1]);
    if (memo != NULL && lc_remember(memo, text) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyObject *lc_settle(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    lc_rows *self = (lc_rows *)object;
    lc_memo *memo = count == 1 ? lc_memo_of(args[0]) : NULL;
    if (memo == NULL) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "settle() takes a Memo");
        return NULL;
    }
    for (uint32_t one = 0; one < self->waits; one++) {
        lc_text *text = &self->texts.texts[self->waiting[one]];
        if (text->fate != LC_WAITING)
            continue;
        change(text, NULL);
        if (text->is_message && lc_remember(memo, text) < 0)
            return NULL;
    }
    self->waits = 0;
    Py_RETURN_NONE;
}
