/* The records of a DATA frame's payload (logbus.wire): where each part of them stands, and which texts they have.
 *
 * What is taken is a part of what logbus.collectors.decode takes, which alone says what is wrong with a frame: at any
 * doubt the frame, or the record, is its. Nothing is trusted: each length is held against the bytes that are there, and
 * nothing recurses.
 */
#include "rows.h"

#include <string.h>

/* Bytes of a payload, and no number of anything in it comes near the end of 32 bits. A frame has 256 KiB at most. */
#define MOST_BYTES (16 * 1024 * 1024)

typedef const unsigned char *place;

/* The outcomes of reading: it was taken; it is not for us (nothing is raised); an exception. */
typedef enum { TAKEN = 0, STRANGE = 1, RAISED = -1 } outcome;

static inline uint64_t big_endian(place at, int bytes)
{
    uint64_t value = 0;
    for (int one = 0; one < bytes; one++)
        value = value << 8 | at[one];
    return value;
}

/* Reads a number of so many bytes; 0 where these are not there. */
static inline int take_number(place *at, place end, int bytes, uint64_t *value)
{
    if (end - *at < bytes)
        return 0;
    *value = big_endian(*at, bytes);
    *at += bytes;
    return 1;
}

/* The head of an array or map (`fixed` 0x90 or 0x80, `of_16` 0xDC or 0xDE): how many there are in it. */
static inline int take_many(place *at, place end, unsigned char fixed, unsigned char of_16, uint64_t *many)
{
    if (*at >= end)
        return 0;
    unsigned char head = *(*at)++;
    if ((head & 0xF0) == fixed) {
        *many = head & 0x0F;
        return 1;
    }
    if (head == of_16)
        return take_number(at, end, 2, many);
    return head == of_16 + 1 && take_number(at, end, 4, many);
}

static inline int take_array(place *at, place end, uint64_t *many)
{
    return take_many(at, end, 0x90, 0xDC, many);
}

static inline int take_map(place *at, place end, uint64_t *many)
{
    return take_many(at, end, 0x80, 0xDE, many);
}

/* A str: where its bytes stand. Whether these are UTF-8 is asked where they are entered. */
static inline int take_text(place *at, place end, place *bytes, uint32_t *length)
{
    if (*at >= end)
        return 0;
    uint64_t many;
    unsigned char head = **at;
    if ((head & 0xE0) == 0xA0) {
        many = head & 0x1F;
        ++*at;
    } else if (head >= 0xD9 && head <= 0xDB) {
        ++*at;
        if (!take_number(at, end, 1 << (head - 0xD9), &many))
            return 0;
    } else {
        return 0;
    }
    if ((uint64_t)(end - *at) < many)
        return 0;
    *bytes = *at;
    *length = (uint32_t)many;
    *at += many;
    return 1;
}

lc_kind lc_scalar(place *at, place end, lc_value *value)
{
    if (*at >= end)
        return LC_NO_SCALAR;
    unsigned char head = *(*at)++;
    uint64_t bits;
    if (head < 0x80) {
        value->number = head;
        return LC_SIGNED;
    }
    if (head >= 0xE0) {
        value->number = (signed char)head;
        return LC_SIGNED;
    }
    switch (head) {
    case 0xC0:
        return LC_NIL;
    case 0xC2:
        return LC_FALSE;
    case 0xC3:
        return LC_TRUE;
    case 0xCA: {
        float narrow;
        if (!take_number(at, end, 4, &bits))
            return LC_NO_SCALAR;
        uint32_t half = (uint32_t)bits;
        memcpy(&narrow, &half, sizeof narrow);
        value->real = narrow;
        return LC_FLOAT;
    }
    case 0xCB:
        if (!take_number(at, end, 8, &bits))
            return LC_NO_SCALAR;
        memcpy(&value->real, &bits, sizeof value->real);
        return LC_FLOAT;
    case 0xCC:
    case 0xCD:
    case 0xCE:
    case 0xCF:
        if (!take_number(at, end, 1 << (head - 0xCC), &bits))
            return LC_NO_SCALAR;
        if (bits > INT64_MAX) {
            value->large = bits;
            return LC_UNSIGNED;
        }
        value->number = (int64_t)bits;
        return LC_SIGNED;
    case 0xD0:
    case 0xD1:
    case 0xD2:
    case 0xD3: {
        int bytes = 1 << (head - 0xD0);
        if (!take_number(at, end, bytes, &bits))
            return LC_NO_SCALAR;
        value->number = (int64_t)(bits << (64 - 8 * bytes)) >> (64 - 8 * bytes);
        return LC_SIGNED;
    }
    default:
        return LC_NO_SCALAR;
    }
}

/* Goes past a value and all that is in it; 0 where it is not whole. */
static int skip(place *at, place end)
{
    uint64_t left = 1; /* values; each has a byte of its own at least, so that more than the bytes there are is too much */
    while (left > 0) {
        left--;
        if (*at >= end)
            return 0;
        unsigned char head = **at;
        uint64_t many;
        if ((head & 0xF0) == 0x90 || head == 0xDC || head == 0xDD) {
            if (!take_array(at, end, &many))
                return 0;
            left += many;
        } else if ((head & 0xF0) == 0x80 || head == 0xDE || head == 0xDF) {
            if (!take_map(at, end, &many))
                return 0;
            left += 2 * many;
        } else if ((head & 0xE0) == 0xA0 || (head >= 0xD9 && head <= 0xDB)) {
            place bytes;
            uint32_t length;
            if (!take_text(at, end, &bytes, &length))
                return 0;
        } else {
            lc_value value;
            if (lc_scalar(at, end, &value) == LC_NO_SCALAR)
                return 0;
        }
        if (left > (uint64_t)(end - *at))
            return 0;
    }
    return 1;
}

static int is_ascii(place bytes, uint32_t length)
{
    uint64_t all = 0, eight;
    while (length >= 8) {
        memcpy(&eight, bytes, 8);
        all |= eight;
        bytes += 8;
        length -= 8;
    }
    while (length-- > 0)
        all |= *bytes++;
    return (all & 0x8080808080808080u) == 0;
}

/* Enters a text, if it is new after a look at its UTF-8; LC_NONE where that is wrong, or with an exception. */
static uint32_t enter(lc_texts *texts, place bytes, uint32_t length)
{
    uint32_t before = texts->count, number = lc_enter(texts, bytes, length);
    if (number == before && !is_ascii(bytes, length)) {
        PyObject *text = PyUnicode_DecodeUTF8((const char *)bytes, length, "strict");
        if (text == NULL) {
            if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
                PyErr_Clear();
            return LC_NONE;
        }
        Py_DECREF(text);
    }
    return number;
}

static int room_for_pairs(lc_rows *self, uint64_t more)
{
    uint64_t wanted = self->paired + more;
    if (wanted <= self->pair_room)
        return 0;
    uint64_t room = self->pair_room ? self->pair_room : 256;
    while (room < wanted)
        room *= 2;
    lc_pair *pairs = PyMem_RawRealloc(self->pairs, room * sizeof *pairs);
    if (pairs == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->pairs = pairs;
    self->pair_room = (uint32_t)room;
    return 0;
}

/* Notes which record has a key. STRANGE where it has it twice: JSON would, too. */
static outcome note_key(lc_rows *self, uint32_t key, uint32_t record)
{
    if (key >= self->key_room) {
        uint32_t room = self->key_room ? self->key_room : 64;
        while (room <= key)
            room *= 2;
        uint32_t *more = PyMem_RawRealloc(self->last_with, room * sizeof *more);
        if (more == NULL) {
            PyErr_NoMemory();
            return RAISED;
        }
        memset(more + self->key_room, 0, (room - self->key_room) * sizeof *more);
        self->last_with = more;
        self->key_room = room;
    }
    if (self->last_with[key] == record + 1)
        return STRANGE;
    self->last_with[key] = record + 1;
    return TAKEN;
}

/* The number of a key: nearly always that of the key which stood in its place in the record before. */
static uint32_t key_number(lc_rows *self, uint32_t expected, place bytes, uint32_t length)
{
    if (expected != LC_NONE) {
        const lc_text *text = &self->keys.texts[expected];
        if (text->length == length && memcmp(text->bytes, bytes, length) == 0)
            return expected;
    }
    uint32_t number = enter(&self->keys, bytes, length);
    /* One that has no place in the table could come twice and have two numbers. */
    return number == LC_NONE || self->keys.texts[number].cell == LC_NONE ? LC_NONE : number;
}

static outcome scan_pairs(lc_rows *self, place *at, place end, lc_row *row, const lc_row *before, uint32_t record)
{
    uint64_t many;
    place start = self->frame.buf;
    if (!take_map(at, end, &many) || many > (uint64_t)(end - *at) / 2)
        return STRANGE;
    if (room_for_pairs(self, many) < 0)
        return RAISED;
    row->pairs = self->paired;
    row->many = (uint32_t)many;
    for (uint32_t one = 0; one < many; one++) {
        place bytes;
        uint32_t length;
        if (!take_text(at, end, &bytes, &length))
            return STRANGE;
        uint32_t expected = before != NULL && one < before->many ? self->pairs[before->pairs + one].text : LC_NONE;
        uint32_t key = key_number(self, expected, bytes, length);
        if (key == LC_NONE)
            return PyErr_Occurred() ? RAISED : STRANGE;
        outcome noted = note_key(self, key, record);
        if (noted != TAKEN)
            return noted;
        lc_pair *pair = &self->pairs[self->paired++];
        *pair = (lc_pair){.text = key};
        place value_at = *at;
        if (take_text(at, end, &bytes, &length)) {
            pair->is_text = 1;
            pair->value = enter(&self->texts, bytes, length);
            if (pair->value == LC_NONE)
                return PyErr_Occurred() ? RAISED : STRANGE;
            continue;
        }
        *at = value_at;
        lc_value value;
        lc_kind kind = lc_scalar(at, end, &value);
        if (kind == LC_NO_SCALAR || (kind == LC_FLOAT && !(value.real - value.real == 0.0))) /* NaN, the infinities */
            return STRANGE;
        pair->value = (uint32_t)(value_at - start);
    }
    return TAKEN;
}

/* An index into a table of so many. */
static inline int take_index(place *at, place end, uint32_t most, uint32_t *index)
{
    lc_value value;
    if (lc_scalar(at, end, &value) != LC_SIGNED || value.number < 0 || value.number >= most)
        return 0;
    *index = (uint32_t)value.number;
    return 1;
}

static outcome scan_record(lc_rows *self, place *at, place end, lc_row *row, const lc_row *before, uint32_t record)
{
    uint64_t parts;
    lc_value value;
    place bytes;
    uint32_t length;
    if (!take_array(at, end, &parts) || parts < 4 || parts > 7)
        return STRANGE;
    if (lc_scalar(at, end, &value) != LC_SIGNED)
        return STRANGE;
    row->time_us = value.number;
    if (!take_index(at, end, self->sites, &row->site) || !take_index(at, end, self->threads, &row->thread))
        return STRANGE;
    if (!take_text(at, end, &bytes, &length))
        return STRANGE;
    if (length > 0) {
        row->message = enter(&self->texts, bytes, length);
        if (row->message == LC_NONE)
            return PyErr_Occurred() ? RAISED : STRANGE;
        self->texts.texts[row->message].is_message = 1;
    }
    if (parts > 4) {
        if (*at < end && **at == 0xC0) {
            ++*at;
        } else {
            outcome scanned = scan_pairs(self, at, end, row, before, record);
            if (scanned != TAKEN)
                return scanned;
        }
    }
    for (uint64_t part = 5; part < parts; part++) /* nested values, an exception */
        if (*at >= end || *(*at)++ != 0xC0)
            return STRANGE;
    return TAKEN;
}

static outcome scan_records(lc_rows *self, place *at, place end)
{
    const lc_row *before = NULL;
    for (uint32_t record = 0; record < self->count; record++) {
        lc_row *row = &self->rows[record];
        place begun = *at;
        uint32_t texts = self->texts.count, keys = self->keys.count, paired = self->paired;
        *row = (lc_row){.message = LC_NONE, .at = (uint32_t)(begun - (place)self->frame.buf)};
        outcome scanned = scan_record(self, at, end, row, before, record);
        if (scanned == RAISED)
            return RAISED;
        if (scanned == STRANGE) {
            lc_withdraw(&self->texts, texts);
            lc_withdraw(&self->keys, keys);
            self->paired = paired;
            row->state = LC_UNUSUAL;
            row->message = LC_NONE;
            row->pairs = row->many = 0;
            *at = begun;
            if (!skip(at, end))
                return STRANGE;
        } else {
            before = row;
        }
        row->length = (uint32_t)(*at - begun);
    }
    return TAKEN;
}

/* Goes past a table of texts or sites; how many there are. */
static int skip_table(place *at, place end, uint32_t *many)
{
    place begun = *at;
    uint64_t found;
    if (!take_array(&begun, end, &found) || found > UINT16_MAX)
        return 0;
    *many = (uint32_t)found;
    return skip(at, end);
}

static outcome scan_payload(lc_rows *self, uint64_t count)
{
    place start = self->frame.buf, end = start + self->frame.len, at = start;
    uint64_t parts, records;
    if (!take_array(&at, end, &parts) || parts != 5)
        return STRANGE;
    self->tables_at = (uint32_t)(at - start);
    if (!skip(&at, end) || !skip_table(&at, end, &self->sites) || !skip_table(&at, end, &self->threads))
        return STRANGE;
    self->tables_end = (uint32_t)(at - start);
    if (!take_array(&at, end, &records) || records != count || records == 0 || records > (uint64_t)(end - at))
        return STRANGE;
    self->count = (uint32_t)records;
    self->rows = PyMem_RawCalloc(self->count, sizeof *self->rows);
    if (self->rows == NULL) {
        PyErr_NoMemory();
        return RAISED;
    }
    if (lc_begin_texts(&self->texts, self->count * 2) < 0 || lc_begin_texts(&self->keys, 64) < 0)
        return RAISED;
    outcome scanned = scan_records(self, &at, end);
    if (scanned != TAKEN)
        return scanned;
    self->drops_at = (uint32_t)(at - start);
    return skip(&at, end) && at == end ? TAKEN : STRANGE;
}

PyObject *lc_scan(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "scan() takes a payload and how many records it has");
        return NULL;
    }
    unsigned long long records = PyLong_AsUnsignedLongLong(args[1]);
    if (records == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    lc_rows *self = (lc_rows *)lc_rows_type->tp_alloc(lc_rows_type, 0);
    if (self == NULL)
        return NULL;
    outcome scanned = RAISED;
    if (PyObject_GetBuffer(args[0], &self->frame, PyBUF_SIMPLE) == 0)
        scanned = self->frame.len > MOST_BYTES ? STRANGE : scan_payload(self, records);
    if (scanned == TAKEN)
        return (PyObject *)self;
    Py_DECREF(self);
    if (scanned == RAISED)
        return NULL;
    Py_RETURN_NONE;
}
