/* logbus.collectors._native: the module itself. */
#include "rows.h"

/* What of these files setup.py has compiled; nothing that is known where somebody else has. */
#ifndef LB_SOURCES
#define LB_SOURCES ""
#endif

static PyMethodDef functions[] = {
    {"scan", (PyCFunction)(void (*)(void))lc_scan, METH_FASTCALL, "The records of a frame's payload, or None."},
    {NULL, NULL, 0, NULL},
};

static int fill(PyObject *module)
{
    /* What is kept in static variables belongs to one interpreter. */
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "logbus.collectors._native serves the main interpreter only");
        return -1;
    }
    if (lc_add_memo(module) < 0 || lc_add_rows(module) < 0)
        return -1;
    return PyModule_AddStringConstant(module, "SOURCES", LB_SOURCES);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, fill},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "logbus.collectors._native",
    .m_doc = "The compiled part of a collector: see native/collector/rows.h.",
    .m_size = 0,
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
