/* The slots of a counter page (logbus.counters), for writing: one for each thread, so that each word has one writer. */
#include "native.h"

lb_layout lb_words;

static PyObject *cell_name;

int lb_begin_slots(lb_slots *self, PyObject *counters)
{
    /* Interned: Python's cache of attributes keeps each name that it is asked with. */
    PyObject *name = PyUnicode_InternFromString("cells");
    PyObject *cells = name == NULL ? NULL : PyObject_GetAttr(counters, name);
    Py_XDECREF(name);
    if (cells == NULL)
        return -1;
    if (!PyDict_CheckExact(cells)) {
        Py_DECREF(cells);
        PyErr_SetString(PyExc_TypeError, "counters.cells is no dict");
        return -1;
    }
    self->cells = cells;
    self->counters = Py_NewRef(counters);
    return 0;
}

void lb_end_slots(lb_slots *self)
{
    Py_CLEAR(self->cells);
    Py_CLEAR(self->counters);
    Py_CLEAR(self->key);
}

/* The words of a slot; NULL with ValueError where the page has been let go. */
static volatile uint64_t *words_of(PyObject *cell)
{
    if (!PyMemoryView_Check(cell)) {
        PyErr_SetString(PyExc_TypeError, "a slot of counters is no memoryview");
        return NULL;
    }
    PyMemoryViewObject *view = (PyMemoryViewObject *)cell;
    if (view->flags & _Py_MEMORYVIEW_RELEASED || view->mbuf->flags & _Py_MANAGED_BUFFER_RELEASED) {
        PyErr_SetString(PyExc_ValueError, "operation forbidden on released memoryview object");
        return NULL;
    }
    if (view->view.len < lb_words.bytes) {
        PyErr_SetString(PyExc_ValueError, "a slot of counters is too short");
        return NULL;
    }
    return view->view.buf;
}

/* Has the next call of this thread find a slot; 0, or -1 with an exception. Python code, which may have come back here in
 * another thread, has run since the key was made. */
static int remember(lb_slots *self, unsigned long ident, PyObject *cell)
{
    PyObject *key = PyLong_FromUnsignedLong(ident);
    int done = key == NULL || PyDict_SetDefault(self->cells, key, cell) == NULL ? -1 : 0;
    Py_XDECREF(key);
    return done;
}

volatile uint64_t *lb_slot(lb_slots *self)
{
    unsigned long ident = PyThread_get_thread_ident();
    if (ident != self->ident || self->key == NULL) {
        if (self->cells == NULL) {
            PyErr_SetString(PyExc_RuntimeError, "a buffer that never began has no counters");
            return NULL;
        }
        PyObject *key = PyLong_FromUnsignedLong(ident);
        if (key == NULL)
            return NULL;
        Py_XSETREF(self->key, key);
        self->ident = ident;
    }
    PyObject *cell = PyDict_GetItemWithError(self->cells, self->key);
    if (cell != NULL)
        return words_of(cell);
    if (PyErr_Occurred())
        return NULL;
    cell = PyObject_CallMethodNoArgs(self->counters, cell_name);
    if (cell == NULL)
        return NULL;
    /* Under its number here, too: gevent gives threads others, and each call would make another slot. */
    volatile uint64_t *words = remember(self, ident, cell) < 0 ? NULL : words_of(cell);
    Py_DECREF(cell); /* it stands in `cells`, and no page ends while its process counts in it */
    return words;
}

/* An attribute of a module as a number; -1 with an exception where it is none. */
static Py_ssize_t number(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *found = module == NULL ? NULL : PyObject_GetAttrString(module, name);
    Py_ssize_t value = found == NULL ? -1 : PyLong_AsSsize_t(found);
    Py_XDECREF(module);
    Py_XDECREF(found);
    return value;
}

int lb_add_slots(PyObject *Py_UNUSED(module))
{
    static const struct {
        const char *module, *name;
    } names[] = {
        {"logbus.counters", "EMITTED"}, {"logbus.counters", "SETTLED"}, {"logbus.counters", "DROPPED"},
        {"logbus.counters", "SLOT_WORDS"}, {"logbus.wire", "HIGH_WATER_MARK"}, {"logbus.wire", "SHUTDOWN"},
        {"logbus.wire", "UNENCODABLE"},
    };
    Py_ssize_t found[sizeof names / sizeof names[0]];
    for (size_t at = 0; at < sizeof names / sizeof names[0]; at++) {
        found[at] = number(names[at].module, names[at].name);
        if (PyErr_Occurred())
            return -1;
    }
    lb_words.emitted = found[0];
    lb_words.settled = found[1];
    lb_words.bytes = found[3] * 8;
    lb_words.high_water_mark = found[2] + found[4] * LB_BUCKETS;
    lb_words.shutdown = found[2] + found[5] * LB_BUCKETS;
    lb_words.unencodable = found[2] + found[6] * LB_BUCKETS;
    lb_words.shutdown_reason = found[5];
    for (size_t at = 4; at < sizeof names / sizeof names[0]; at++)
        if (found[2] + (found[at] + 1) * LB_BUCKETS > found[3]) {
            PyErr_SetString(PyExc_ImportError, "the counters of a slot are others than this was made for");
            return -1;
        }
    cell_name = PyUnicode_InternFromString("cell");
    return cell_name == NULL ? -1 : 0;
}
