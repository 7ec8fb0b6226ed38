/* The compiled part of a collector: from the records of a frame to their lines of JSON, without an object for each.
 *
 * logbus.collectors.packed says how it is used, and the Python beside it (decode.py, redaction/, format/json.py) what it
 * does: byte for byte the same, for records as they usually are. One that is not (an exception, nested values, a float
 * that JSON has no word for) is left to that Python, and so is a frame that is not what the wire describes: nothing is
 * refused here. Each function holds the GIL from its first line to its last. See docs/decisions/0018.
 */
#ifndef LOGBUS_ROWS_H
#define LOGBUS_ROWS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

/* No text, no cell: one more than the largest number there is. */
#define LC_NONE UINT32_MAX

/* ── texts.c: the different texts of a frame, and those that redaction has met before ──────────────────────────── */

/* What redaction says of a text: nothing yet; it stays; something else stands in its place. */
typedef enum { LC_WAITING, LC_STAYS, LC_CHANGED } lc_fate;

typedef struct {
    const unsigned char *bytes; /* in the frame: valid UTF-8 */
    uint32_t length;
    uint32_t cell;        /* where the table has it; LC_NONE where it has not */
    uint64_t hash;
    PyObject *instead;    /* bytes: JSON, with its quotes; for LC_CHANGED only */
    lc_fate fate;
    int is_message;
} lc_text;

/* Texts, each once: two that are equal have one number. (Nearly: where too many share a place in the table, one has two
 * numbers. That costs a little and changes nothing, and nobody can make a frame that takes long to look through.) */
typedef struct {
    lc_text *texts;
    uint32_t count;
    uint32_t room;
    uint32_t *cells; /* the number of a text and one, or 0 */
    uint32_t mask;   /* a power of two, less one */
} lc_texts;

int lc_begin_texts(lc_texts *texts, uint32_t expected);
void lc_end_texts(lc_texts *texts);
/* The number of a text; LC_NONE with an exception. */
uint32_t lc_enter(lc_texts *texts, const unsigned char *bytes, uint32_t length);
/* Takes the last ones out again, down to `count`. */
void lc_withdraw(lc_texts *texts, uint32_t count);

/* Texts of earlier frames, and what becomes of them: an object of Python's, see lc_add_memo. */
typedef struct lc_memo lc_memo;

/* What it says of a text; `instead` is borrowed. */
lc_fate lc_recall(lc_memo *memo, const lc_text *text, PyObject **instead);
/* Keeps what becomes of a text, unless that is too long; 0, or -1 with an exception. */
int lc_remember(lc_memo *memo, const lc_text *text);
/* The memo that an argument is; NULL with an exception. */
lc_memo *lc_memo_of(PyObject *argument);

/* ── scan.c: the records of a frame ────────────────────────────────────────────────────────────────────────────── */

/* Whether a record is one for this code, or for Python, or nobody wants it (then it is empty). */
typedef enum { LC_USUAL, LC_UNUSUAL, LC_LEFT_OUT } lc_state;

typedef struct {
    int64_t time_us;
    uint32_t site;
    uint32_t thread;
    uint32_t message; /* a text; LC_NONE for an empty one */
    uint32_t pairs;   /* its first pair */
    uint32_t many;    /* how many pairs it has */
    uint32_t at;      /* its bytes in the frame */
    uint32_t length;
    lc_state state;
} lc_row;

/* What redaction says of a key. */
typedef enum { LC_PLAIN, LC_SECRET, LC_UNLESS_NUMBER, LC_STRANGE } lc_verdict;

typedef struct {
    uint32_t text;  /* its number among the keys' texts */
    uint32_t value; /* the number of a text; or where in the frame the value stands */
    int is_text;
} lc_pair;

typedef struct {
    PyObject_HEAD
    Py_buffer frame;
    lc_row *rows;
    uint32_t count;
    lc_pair *pairs;
    uint32_t paired;
    uint32_t pair_room;
    lc_texts texts;
    lc_texts keys;
    lc_verdict *verdicts; /* of each key; NULL before they are judged: then all are plain */
    uint32_t *last_with;  /* of each key: the record, and one, that had it last */
    uint32_t key_room;
    uint32_t *waiting;    /* numbers of texts, in the order in which lc_look has joined them */
    uint32_t *starts;     /* where each begins in what was joined; and the end */
    uint32_t waits;
    uint32_t sites, threads; /* how many the frame has */
    uint32_t tables_at, tables_end, drops_at; /* source, sites and threads in a row; drops, up to the end */
} lc_rows;

PyObject *lc_scan(PyObject *module, PyObject *const *args, Py_ssize_t count);
extern PyTypeObject *lc_rows_type;

/* A number of msgpack: what kind it is, and its value. 0 when there is none at `at`. */
typedef enum { LC_NO_SCALAR, LC_NIL, LC_FALSE, LC_TRUE, LC_SIGNED, LC_UNSIGNED, LC_FLOAT } lc_kind;
typedef union {
    int64_t number;
    uint64_t large;
    double real;
} lc_value;
lc_kind lc_scalar(const unsigned char **at, const unsigned char *end, lc_value *value);

/* ── look.c: redaction ─────────────────────────────────────────────────────────────────────────────────────────── */

PyObject *lc_leave_out(PyObject *self, PyObject *wanted);
PyObject *lc_fields(PyObject *self, PyObject *unused);
PyObject *lc_judge(PyObject *self, PyObject *verdicts);
PyObject *lc_unusual(PyObject *self, PyObject *unused);
PyObject *lc_look(PyObject *self, PyObject *memo);
PyObject *lc_holding(PyObject *self, PyObject *byte);
PyObject *lc_found(PyObject *self, PyObject *position);
PyObject *lc_become(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *lc_settle(PyObject *self, PyObject *const *args, Py_ssize_t count);

/* ── lines.c: JSON ─────────────────────────────────────────────────────────────────────────────────────────────── */

PyObject *lc_encode(PyObject *self, PyObject *const *args, Py_ssize_t count);

/* ── each file's part of the module; 0, or -1 with an exception ────────────────────────────────────────────────── */

int lc_add_memo(PyObject *module);
int lc_add_rows(PyObject *module);

#endif
