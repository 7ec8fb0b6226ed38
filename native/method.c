/* A method of a Python class, written in C in front of the Python function that it stands for.
 *
 * The class keeps it in its dict as it would keep the function. It binds as a function does, and the interpreter calls
 * it without a bound object (Py_TPFLAGS_METHOD_DESCRIPTOR). Whatever else is asked of it, the function answers, its
 * `__class__` among the answers: inspect, help(), functools.wraps and mock find what they would find without us, and
 * what is written in C can be told by its type() only.
 *
 * It cannot be changed once it is there, so the collector of garbage finds the way through it and nothing to clear: a
 * cycle ends at the class or at the function. */
#include "native.h"
#include <stddef.h>
#include <structmember.h>

static PyObject *bind(PyObject *self, PyObject *instance, PyObject *Py_UNUSED(owner))
{
    if (instance == NULL || instance == Py_None)
        return Py_NewRef(self);
    return PyMethod_New(self, instance);
}

static PyObject *get(PyObject *self, PyObject *name)
{
    PyObject *found = PyObject_GenericGetAttr(self, name);
    if (found != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return found;
    PyErr_Clear();
    return PyObject_GetAttr(((lb_method *)self)->fallback, name);
}

static int set(PyObject *self, PyObject *name, PyObject *value)
{
    return PyObject_SetAttr(((lb_method *)self)->fallback, name, value);
}

static PyObject *get_class(PyObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(Py_TYPE(((lb_method *)self)->fallback));
}

static PyObject *get_doc(PyObject *self, void *Py_UNUSED(closure))
{
    return PyObject_GetAttrString(((lb_method *)self)->fallback, "__doc__");
}

static PyObject *repr(PyObject *self)
{
    PyObject *name = PyObject_GetAttrString(((lb_method *)self)->fallback, "__qualname__");
    if (name == NULL)
        return NULL;
    PyObject *text = PyUnicode_FromFormat("<function %S at %p>", name, self);
    Py_DECREF(name);
    return text;
}

/* Copied as itself and pickled by its name, as a function. */
static PyObject *reduce(PyObject *self, PyObject *Py_UNUSED(arguments))
{
    return PyObject_GetAttrString(((lb_method *)self)->fallback, "__qualname__");
}

static int traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((lb_method *)self)->fallback);
    return 0;
}

static void end(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    if (((lb_method *)self)->weak_references != NULL)
        PyObject_ClearWeakRefs(self);
    Py_XDECREF(((lb_method *)self)->fallback);
    PyObject_GC_Del(self);
}

static PyMemberDef members[] = {
    {"__wrapped__", T_OBJECT_EX, offsetof(lb_method, fallback), READONLY, NULL},
    {NULL},
};

static PyGetSetDef answers[] = {
    {"__class__", get_class, NULL, NULL, NULL},
    {"__doc__", get_doc, NULL, NULL, NULL},
    {NULL},
};

static PyMethodDef methods[] = {
    {"__reduce__", reduce, METH_NOARGS, NULL},
    {NULL},
};

static PyTypeObject type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "logbus.producers._native.Method",
    .tp_basicsize = sizeof(lb_method),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .tp_vectorcall_offset = offsetof(lb_method, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_weaklistoffset = offsetof(lb_method, weak_references),
    .tp_descr_get = bind,
    .tp_getattro = get,
    .tp_setattro = set,
    .tp_repr = repr,
    .tp_traverse = traverse,
    .tp_dealloc = end,
    .tp_members = members,
    .tp_getset = answers,
    .tp_methods = methods,
};

PyObject *lb_new_method(PyObject *fallback, vectorcallfunc call, long datum)
{
    if (PyType_Ready(&type) < 0)
        return NULL;
    lb_method *method = PyObject_GC_New(lb_method, &type);
    if (method == NULL)
        return NULL;
    method->vectorcall = call;
    method->fallback = Py_NewRef(fallback);
    method->datum = datum;
    method->weak_references = NULL;
    PyObject_GC_Track(method);
    return (PyObject *)method;
}
