/* logbus.producers._native: the module itself. */
#include "native.h"

/* What of these files setup.py has compiled; nothing that is known where somebody else has. */
#ifndef LB_SOURCES
#define LB_SOURCES ""
#endif

int lb_intern(const lb_text *texts, size_t count)
{
    for (size_t at = 0; at < count; at++)
        if (*texts[at].to == NULL && (*texts[at].to = PyUnicode_InternFromString(texts[at].text)) == NULL)
            return -1;
    return 0;
}

static int fill(PyObject *module)
{
    /* What is kept in static variables belongs to one interpreter. */
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "logbus.producers._native serves the main interpreter only");
        return -1;
    }
    if (lb_add_slots(module) < 0 || lb_add_buffer(module) < 0 || lb_add_frames(module) < 0 || lb_add_take(module) < 0 ||
        lb_add_call(module) < 0)
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
    .m_name = "logbus.producers._native",
    .m_doc = "The compiled part of a producer: see native/native.h.",
    .m_size = 0,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
