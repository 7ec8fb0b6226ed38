/* Plain values as msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md), byte for byte as the Python packs
 * them: the shortest form of a length and of an integer, str for text, 64 bits for a float.
 *
 * Only exact types are written. A subclass may be anything, and its text is the business of logbus.producers.text.
 */
#include "native.h"

#include <string.h>

/* Bytes that the writer of log calls keeps from call to call: one record of unusual size is not remembered. */
#define KEPT_BYTES (64 * 1024)

static lb_writer of_calls;

static int make_room(lb_writer *writer, Py_ssize_t more)
{
    Py_ssize_t wanted = writer->length + more;
    if (more > PY_SSIZE_T_MAX / 4 - writer->length) {
        PyErr_NoMemory();
        return -1;
    }
    Py_ssize_t room = writer->room ? writer->room : 1024;
    while (room < wanted)
        room *= 2;
    unsigned char *bytes = PyMem_RawRealloc(writer->bytes, (size_t)room);
    if (bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    writer->bytes = bytes;
    writer->room = room;
    return 0;
}

/* Room for `more` bytes behind what is there; NULL without memory. */
static inline unsigned char *reserve(lb_writer *writer, Py_ssize_t more)
{
    if (writer->room - writer->length < more && make_room(writer, more) < 0)
        return NULL;
    return writer->bytes + writer->length;
}

lb_writer *lb_begin(void)
{
    if (of_calls.room > KEPT_BYTES) {
        PyMem_RawFree(of_calls.bytes);
        of_calls.bytes = NULL;
        of_calls.room = 0;
    }
    of_calls.length = 0;
    return &of_calls;
}

lb_writer *lb_written(void)
{
    return &of_calls;
}

void lb_free_writer(lb_writer *writer)
{
    PyMem_RawFree(writer->bytes);
    writer->bytes = NULL;
    writer->length = writer->room = 0;
}

static inline unsigned char *put_16(unsigned char *at, uint64_t value)
{
    *at++ = (unsigned char)(value >> 8);
    *at++ = (unsigned char)value;
    return at;
}

static inline unsigned char *put_32(unsigned char *at, uint64_t value)
{
    return put_16(put_16(at, value >> 16), value);
}

static inline unsigned char *put_64(unsigned char *at, uint64_t value)
{
    return put_32(put_32(at, value >> 32), value);
}

/* The head of something that has a length: `fixed` in its own byte up to `most`, else of 8 (where there is such a
 * form), 16 or 32 bits. */
static inline unsigned char *put_head(unsigned char *at, uint64_t length, unsigned most, unsigned char fixed,
                                      unsigned char of_8, unsigned char of_16)
{
    if (length <= most) {
        *at++ = (unsigned char)(fixed | length);
    } else if (of_8 && length <= 0xFF) {
        *at++ = of_8;
        *at++ = (unsigned char)length;
    } else if (length <= 0xFFFF) {
        *at++ = of_16;
        at = put_16(at, length);
    } else {
        *at++ = (unsigned char)(of_16 + 1);
        at = put_32(at, length);
    }
    return at;
}

/* Bytes of the longest head. */
#define HEAD 9

lb_outcome lb_write_raw(lb_writer *writer, const void *bytes, Py_ssize_t length)
{
    unsigned char *at = reserve(writer, length);
    if (at == NULL)
        return LB_ERROR;
    memcpy(at, bytes, (size_t)length);
    writer->length += length;
    return LB_WRITTEN;
}

static lb_outcome write_byte(lb_writer *writer, unsigned char byte)
{
    unsigned char *at = reserve(writer, 1);
    if (at == NULL)
        return LB_ERROR;
    *at = byte;
    writer->length++;
    return LB_WRITTEN;
}

lb_outcome lb_write_nil(lb_writer *writer)
{
    return write_byte(writer, 0xC0);
}

lb_outcome lb_write_map(lb_writer *writer, Py_ssize_t entries)
{
    unsigned char *at = entries <= UINT32_MAX ? reserve(writer, HEAD) : NULL;
    if (at == NULL)
        return PyErr_Occurred() ? LB_ERROR : LB_UNUSUAL;
    writer->length = put_head(at, (uint64_t)entries, 15, 0x80, 0, 0xDE) - writer->bytes;
    return LB_WRITTEN;
}

lb_outcome lb_write_array(lb_writer *writer, Py_ssize_t items)
{
    unsigned char *at = items <= UINT32_MAX ? reserve(writer, HEAD) : NULL;
    if (at == NULL)
        return PyErr_Occurred() ? LB_ERROR : LB_UNUSUAL;
    writer->length = put_head(at, (uint64_t)items, 15, 0x90, 0, 0xDC) - writer->bytes;
    return LB_WRITTEN;
}

lb_outcome lb_write_str(lb_writer *writer, PyObject *text)
{
    if (!PyUnicode_CheckExact(text))
        return LB_UNUSUAL;
    Py_ssize_t length;
    const char *bytes;
#if PY_VERSION_HEX < 0x030C0000
    if (PyUnicode_READY(text) < 0)
        return LB_ERROR;
#endif
    if (PyUnicode_IS_COMPACT_ASCII(text)) {
        length = PyUnicode_GET_LENGTH(text);
        bytes = PyUnicode_DATA(text);
    } else {
        bytes = PyUnicode_AsUTF8AndSize(text, &length);
        if (bytes == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_UnicodeError))
                return LB_ERROR;
            PyErr_Clear();
            return LB_UNUSUAL;
        }
    }
    if (length > UINT32_MAX)
        return LB_UNUSUAL;
    unsigned char *at = reserve(writer, HEAD + length);
    if (at == NULL)
        return LB_ERROR;
    at = put_head(at, (uint64_t)length, 31, 0xA0, 0xD9, 0xDA);
    memcpy(at, bytes, (size_t)length);
    writer->length = at + length - writer->bytes;
    return LB_WRITTEN;
}

static unsigned char *put_unsigned(unsigned char *at, uint64_t value)
{
    if (value < 0x80) {
        *at++ = (unsigned char)value;
    } else if (value <= 0xFF) {
        *at++ = 0xCC;
        *at++ = (unsigned char)value;
    } else if (value <= 0xFFFF) {
        *at++ = 0xCD;
        at = put_16(at, value);
    } else if (value <= 0xFFFFFFFF) {
        *at++ = 0xCE;
        at = put_32(at, value);
    } else {
        *at++ = 0xCF;
        at = put_64(at, value);
    }
    return at;
}

lb_outcome lb_write_int(lb_writer *writer, long long value)
{
    unsigned char *at = reserve(writer, HEAD);
    if (at == NULL)
        return LB_ERROR;
    if (value >= 0) {
        at = put_unsigned(at, (uint64_t)value);
    } else if (value >= -32) {
        *at++ = (unsigned char)value;
    } else if (value >= INT8_MIN) {
        *at++ = 0xD0;
        *at++ = (unsigned char)value;
    } else if (value >= INT16_MIN) {
        *at++ = 0xD1;
        at = put_16(at, (uint64_t)value);
    } else if (value >= INT32_MIN) {
        *at++ = 0xD2;
        at = put_32(at, (uint64_t)value);
    } else {
        *at++ = 0xD3;
        at = put_64(at, (uint64_t)value);
    }
    writer->length = at - writer->bytes;
    return LB_WRITTEN;
}

static lb_outcome write_long(lb_writer *writer, PyObject *number)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (!overflow)
        return lb_write_int(writer, value);
    if (overflow < 0)
        return LB_UNUSUAL;
    unsigned long long large = PyLong_AsUnsignedLongLong(number);
    if (large == (unsigned long long)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        return LB_UNUSUAL;
    }
    unsigned char *at = reserve(writer, HEAD);
    if (at == NULL)
        return LB_ERROR;
    writer->length = put_unsigned(at, large) - writer->bytes;
    return LB_WRITTEN;
}

static lb_outcome write_float(lb_writer *writer, double value)
{
    uint64_t bits;
    unsigned char *at = reserve(writer, HEAD);
    if (at == NULL)
        return LB_ERROR;
    memcpy(&bits, &value, sizeof bits);
    *at++ = 0xCB;
    writer->length = put_64(at, bits) - writer->bytes;
    return LB_WRITTEN;
}

lb_outcome lb_write_scalar(lb_writer *writer, PyObject *value)
{
    if (PyUnicode_CheckExact(value))
        return lb_write_str(writer, value);
    if (PyLong_CheckExact(value))
        return write_long(writer, value);
    if (value == Py_None)
        return write_byte(writer, 0xC0);
    if (value == Py_True)
        return write_byte(writer, 0xC3);
    if (value == Py_False)
        return write_byte(writer, 0xC2);
    if (PyFloat_CheckExact(value))
        return write_float(writer, PyFloat_AS_DOUBLE(value));
    return LB_UNUSUAL;
}

lb_outcome lb_write_fields(lb_writer *writer, PyObject *fields)
{
    if (!PyDict_CheckExact(fields))
        return LB_UNUSUAL;
    lb_outcome outcome = lb_write_map(writer, PyDict_GET_SIZE(fields));
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (outcome == LB_WRITTEN && PyDict_Next(fields, &at, &key, &value)) {
        outcome = lb_write_str(writer, key);
        if (outcome == LB_WRITTEN)
            outcome = lb_write_scalar(writer, value);
    }
    return outcome;
}

lb_outcome lb_write_tree(lb_writer *writer, PyObject *value, int depth)
{
    lb_outcome outcome;
    if (writer->length > LB_MOST_BYTES) /* one that has itself in it many times grows without end */
        return LB_UNUSUAL;
    if (PyDict_CheckExact(value)) {
        PyObject *key, *item;
        Py_ssize_t at = 0;
        outcome = depth > 0 ? lb_write_map(writer, PyDict_GET_SIZE(value)) : LB_UNUSUAL;
        while (outcome == LB_WRITTEN && PyDict_Next(value, &at, &key, &item)) {
            outcome = lb_write_str(writer, key);
            if (outcome == LB_WRITTEN)
                outcome = lb_write_tree(writer, item, depth - 1);
        }
    } else if (PyList_CheckExact(value) || PyTuple_CheckExact(value)) {
        Py_ssize_t items = PySequence_Fast_GET_SIZE(value);
        outcome = depth > 0 ? lb_write_array(writer, items) : LB_UNUSUAL;
        for (Py_ssize_t at = 0; outcome == LB_WRITTEN && at < items; at++)
            outcome = lb_write_tree(writer, PySequence_Fast_GET_ITEM(value, at), depth - 1);
    } else {
        outcome = lb_write_scalar(writer, value);
    }
    return outcome;
}

Py_ssize_t lb_sizeof_str(PyObject *text)
{
#if PY_VERSION_HEX < 0x030C0000
    if (PyUnicode_READY(text) < 0)
        PyErr_Clear();
#endif
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    if (PyUnicode_IS_COMPACT_ASCII(text))
        return (Py_ssize_t)sizeof(PyASCIIObject) + length + 1;
    return (Py_ssize_t)sizeof(PyCompactUnicodeObject) + (length + 1) * (Py_ssize_t)PyUnicode_KIND(text);
}
