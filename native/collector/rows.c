/* What Python sees of the records of a frame: the type Rows. */
#include "rows.h"

#include <string.h>

PyTypeObject *lc_rows_type;

static void free_rows(PyObject *object)
{
    lc_rows *self = (lc_rows *)object;
    PyTypeObject *type = Py_TYPE(object);
    lc_end_texts(&self->texts);
    lc_end_texts(&self->keys);
    PyMem_RawFree(self->rows);
    PyMem_RawFree(self->pairs);
    PyMem_RawFree(self->verdicts);
    PyMem_RawFree(self->last_with);
    PyMem_RawFree(self->waiting);
    PyMem_RawFree(self->starts);
    if (self->frame.obj != NULL)
        PyBuffer_Release(&self->frame);
    type->tp_free(object);
    Py_DECREF(type);
}

static Py_ssize_t length_of(PyObject *object)
{
    return ((lc_rows *)object)->count;
}

static PyObject *tables_of(PyObject *object, void *Py_UNUSED(closure))
{
    lc_rows *self = (lc_rows *)object;
    uint32_t length = self->tables_end - self->tables_at;
    PyObject *tables = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length + 1);
    if (tables != NULL) {
        *PyBytes_AS_STRING(tables) = (char)0x93; /* an array of three */
        memcpy(PyBytes_AS_STRING(tables) + 1, (char *)self->frame.buf + self->tables_at, length);
    }
    return tables;
}

static PyObject *drops_of(PyObject *object, void *Py_UNUSED(closure))
{
    lc_rows *self = (lc_rows *)object;
    return PyBytes_FromStringAndSize((char *)self->frame.buf + self->drops_at, self->frame.len - self->drops_at);
}

static PyObject *sites_of(PyObject *object, PyObject *Py_UNUSED(unused))
{
    lc_rows *self = (lc_rows *)object;
    PyObject *sites = PyList_New(self->count);
    for (uint32_t at = 0; sites != NULL && at < self->count; at++) {
        PyObject *site = PyLong_FromUnsignedLong(self->rows[at].site);
        if (site == NULL)
            Py_CLEAR(sites);
        else
            PyList_SET_ITEM(sites, at, site);
    }
    return sites;
}

static PyMethodDef methods[] = {
    {"sites", sites_of, METH_NOARGS, "The call site of each record; that of an unusual one is not known, and 0."},
    {"leave_out", lc_leave_out, METH_O, "Empties the records of call sites that nobody wants."},
    {"fields", lc_fields, METH_NOARGS, "The keys of the records, each once."},
    {"judge", lc_judge, METH_O, "Takes what redaction says of each key: a byte."},
    {"unusual", lc_unusual, METH_NOARGS, "The bytes of the records that are Python's, by their places."},
    {"look", lc_look, METH_O, "The texts of which nobody has said yet what becomes of them, joined by newlines."},
    {"holding", lc_holding, METH_O, "Those of them that have a byte in them, with their numbers."},
    {"found", lc_found, METH_O, "Which of them stands at a place of what was joined, and where the next begins."},
    {"become", (PyCFunction)(void (*)(void))lc_become, METH_FASTCALL, "Says what becomes of a text."},
    {"settle", (PyCFunction)(void (*)(void))lc_settle, METH_FASTCALL, "Says that the others stay as they are."},
    {"encode", (PyCFunction)(void (*)(void))lc_encode, METH_FASTCALL, "The lines of some of the records, or of all."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef attributes[] = {
    {"tables", tables_of, NULL, "Source, call sites and threads, as an array of msgpack.", NULL},
    {"drops", drops_of, NULL, "The drops, in msgpack.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, free_rows},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {Py_sq_length, length_of},
    {Py_tp_doc, "The records of a frame."},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "logbus.collectors._native.Rows",
    .basicsize = sizeof(lc_rows),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

int lc_add_rows(PyObject *module)
{
    lc_rows_type = (PyTypeObject *)PyType_FromSpec(&spec);
    if (lc_rows_type == NULL)
        return -1;
    return PyModule_AddObjectRef(module, "Rows", (PyObject *)lc_rows_type);
}
