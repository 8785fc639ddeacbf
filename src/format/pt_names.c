/* SPDX-License-Identifier: Apache-2.0
 * The names that a checkpoint's pickle may use, and the values that they stand for. */
#include "format/pt_machine.h"

#include <stdio.h>
#include <string.h>

/* What a name on the list stands for. */
enum rule {
    RULE_DICT,          /* OrderedDict and its kin: a dict */
    RULE_TENSOR,        /* (storage, offset, shape, strides, ...) */
    RULE_PARAMETER,     /* (tensor, ...): the tensor */
    RULE_FROM_TYPE,     /* (function, type, arguments, state): what the function gives */
    RULE_TUPLE,         /* torch.Size */
    RULE_SAME,          /* set, list: their argument */
    RULE_TEXT,          /* _codecs.encode(text, encoding): the text */
    RULE_OBJECT,        /* Namespace */
    RULE_RECONSTRUCTOR, /* copyreg: (class, object, None) */
    RULE_INERT,         /* kept from being called, and of no use */
    RULE_STORAGE,       /* FloatStorage: only inside a persistent id */
    RULE_DTYPE,
};

struct global {
    const char *module, *name;
    enum rule rule;
    enum fdit_st_type type; /* of storages and dtypes; FDIT_ST_TYPES: counted in bytes */
};

#define STORAGES(module)                                              \
    { module, "FloatStorage", RULE_STORAGE, FDIT_ST_F32 },            \
        { module, "HalfStorage", RULE_STORAGE, FDIT_ST_F16 },         \
        { module, "BFloat16Storage", RULE_STORAGE, FDIT_ST_BF16 },    \
        { module, "DoubleStorage", RULE_STORAGE, FDIT_ST_F64 },       \
        { module, "LongStorage", RULE_STORAGE, FDIT_ST_I64 },         \
        { module, "IntStorage", RULE_STORAGE, FDIT_ST_I32 },          \
        { module, "ShortStorage", RULE_STORAGE, FDIT_ST_I16 },        \
        { module, "CharStorage", RULE_STORAGE, FDIT_ST_I8 },          \
        { module, "ByteStorage", RULE_STORAGE, FDIT_ST_U8 },          \
        { module, "BoolStorage", RULE_STORAGE, FDIT_ST_BOOL },        \
        { module, "ComplexFloatStorage", RULE_STORAGE, FDIT_ST_C64 }, \
    {                                                                 \
        module, "UntypedStorage", RULE_STORAGE, FDIT_ST_TYPES         \
    }
#define BUILTINS(module)                                                              \
    { module, "object", RULE_INERT, 0 }, { module, "set", RULE_SAME, 0 },             \
        { module, "frozenset", RULE_SAME, 0 }, { module, "list", RULE_SAME, 0 },      \
        { module, "tuple", RULE_SAME, 0 }, { module, "dict", RULE_DICT, 0 },          \
        { module, "int", RULE_SAME, 0 }, { module, "float", RULE_SAME, 0 },           \
        { module, "bool", RULE_SAME, 0 }, { module, "str", RULE_SAME, 0 },            \
        { module, "bytes", RULE_INERT, 0 }, { module, "bytearray", RULE_INERT, 0 },   \
        { module, "long", RULE_SAME, 0 }, { module, "unicode", RULE_SAME, 0 },        \
        { module, "slice", RULE_INERT, 0 }, { module, "range", RULE_INERT, 0 },       \
        { module, "xrange", RULE_INERT, 0 }, { module, "type", RULE_INERT, 0 },       \
        { module, "property", RULE_INERT, 0 }, { module, "Ellipsis", RULE_INERT, 0 }, \
        { module, "NotImplemented", RULE_INERT, 0 },                                  \
    {                                                                                 \
        module, "complex", RULE_INERT, 0                                              \
    }
#define PATHS(module)                                                                       \
    { module, "Path", RULE_INERT, 0 }, { module, "PurePath", RULE_INERT, 0 },               \
        { module, "PosixPath", RULE_INERT, 0 }, { module, "PurePosixPath", RULE_INERT, 0 }, \
        { module, "WindowsPath", RULE_INERT, 0 },                                           \
    {                                                                                       \
        module, "PureWindowsPath", RULE_INERT, 0                                            \
    }
#define NUMPY(module)                         \
    { module, "scalar", RULE_INERT, 0 },      \
    {                                         \
        module, "_reconstruct", RULE_INERT, 0 \
    }

static const struct global pt_globals[] = {
    { "collections", "OrderedDict", RULE_DICT, 0 },
    { "collections", "defaultdict", RULE_DICT, 0 },
    { "collections", "Counter", RULE_DICT, 0 },
    { "torch._utils", "_rebuild_tensor", RULE_TENSOR, 0 },
    { "torch._utils", "_rebuild_tensor_v2", RULE_TENSOR, 0 },
    { "torch._utils", "_rebuild_tensor_v3", RULE_TENSOR, 0 },
    { "torch._utils", "_rebuild_parameter", RULE_PARAMETER, 0 },
    { "torch._utils", "_rebuild_parameter_with_state", RULE_PARAMETER, 0 },
    { "torch._tensor", "_rebuild_from_type_v2", RULE_FROM_TYPE, 0 },
    { "torch.nn.parameter", "Parameter", RULE_PARAMETER, 0 },
    { "torch", "Tensor", RULE_INERT, 0 },
    { "torch", "Size", RULE_TUPLE, 0 },
    { "torch", "device", RULE_INERT, 0 },
    { "torch.serialization", "_get_layout", RULE_INERT, 0 },
    { "argparse", "Namespace", RULE_OBJECT, 0 },
    { "__torch__", "*", RULE_OBJECT, 0 }, /* classes of a TorchScript program: their attributes alone */
    { "types", "SimpleNamespace", RULE_OBJECT, 0 },
    { "copy_reg", "_reconstructor", RULE_RECONSTRUCTOR, 0 },
    { "copyreg", "_reconstructor", RULE_RECONSTRUCTOR, 0 },
    { "_codecs", "encode", RULE_TEXT, 0 },
    { "numpy", "dtype", RULE_INERT, 0 },
    { "numpy", "ndarray", RULE_INERT, 0 },
    NUMPY("numpy.core.multiarray"),
    NUMPY("numpy._core.multiarray"),
    BUILTINS("builtins"),
    BUILTINS("__builtin__"),
    PATHS("pathlib"),
    PATHS("pathlib._local"),
    STORAGES("torch"),
    STORAGES("torch.cuda"),
    { "torch.storage", "UntypedStorage", RULE_STORAGE, FDIT_ST_TYPES },
    { "torch", "float32", RULE_DTYPE, FDIT_ST_F32 },
    { "torch", "float16", RULE_DTYPE, FDIT_ST_F16 },
    { "torch", "bfloat16", RULE_DTYPE, FDIT_ST_BF16 },
    { "torch", "float64", RULE_DTYPE, FDIT_ST_F64 },
    { "torch", "float8_e5m2", RULE_DTYPE, FDIT_ST_F8_E5M2 },
    { "torch", "float8_e4m3fn", RULE_DTYPE, FDIT_ST_F8_E4M3 },
    { "torch", "int64", RULE_DTYPE, FDIT_ST_I64 },
    { "torch", "int32", RULE_DTYPE, FDIT_ST_I32 },
    { "torch", "int16", RULE_DTYPE, FDIT_ST_I16 },
    { "torch", "int8", RULE_DTYPE, FDIT_ST_I8 },
    { "torch", "uint64", RULE_DTYPE, FDIT_ST_U64 },
    { "torch", "uint32", RULE_DTYPE, FDIT_ST_U32 },
    { "torch", "uint16", RULE_DTYPE, FDIT_ST_U16 },
    { "torch", "uint8", RULE_DTYPE, FDIT_ST_U8 },
    { "torch", "bool", RULE_DTYPE, FDIT_ST_BOOL },
    { "torch", "complex64", RULE_DTYPE, FDIT_ST_C64 },
};

/* n bytes of the file as they may stand in a message: at most 80. */
static const char *shown(const char *text, size_t n, char out[81])
{
    n = n < 80 ? n : 80;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)text[i] < 0x20 || (unsigned char)text[i] > 0x7e ? '?' : text[i];
    out[n] = 0;
    return out;
}

/* Nothing is ever called, so no list decides what is safe. A name that is not in pt_globals becomes an inert
 * value; no weights are looked for inside one, and a file in which none are found is refused by the first
 * such name. This list only makes a plain attack visible: a checkpoint that names one of these modules,
 * whose functions act on the machine or run text, is refused whatever else it holds. */
static const char *const acting[] = {
    "os",          "posix",      "nt",       "subprocess", "sys",
    "runpy",       "importlib",  "ctypes",   "pty",        "socket",
    "shutil",      "webbrowser", "codeop",   "pickle",     "_pickle",
    "cPickle",     "dill",       "marshal",  "builtins",   "__builtin__",
    "imp",         "pip",        "pdb",      "bdb",        "timeit",
    "cProfile",    "popen2",     "asyncio",  "operator",   "_operator",
    "urllib",      "http",       "requests", "ftplib",     "smtplib",
    "pydoc",       "doctest",    "pkgutil",  "zipimport",  "multiprocessing",
    "signal",      "atexit",     "gc",       "linecache",  "tempfile",
    "cloudpickle",
};

static bool acts(const char *module, size_t n)
{
    size_t root = 0;
    while (root < n && module[root] != '.')
        root++;
    for (size_t i = 0; i < sizeof acting / sizeof *acting; i++)
        if (strlen(acting[i]) == root && !memcmp(acting[i], module, root))
            return true;
    return false;
}

static enum fdit_status refuse_text(fdit_context *ctx, const char *file, const char *name)
{
    return fdit_fail(
        ctx, FDIT_ERROR_UNSUPPORTED,
        "%s: asks for the Python object %s, which is not among those of a checkpoint; nothing was "
        "executed. If the file can be trusted, load it in PyTorch and save its state_dict()",
        file, name);
}

bool fdit_pt_pickle_unknown(const struct fdit_pt_pickle *p, char *out, size_t size)
{
    snprintf(out, size, "%s", p->unknown);
    return *p->unknown;
}

enum fdit_status fdit_pt_refuse_unknown(fdit_context *ctx, const struct fdit_pt_pickle *p)
{
    return *p->unknown ? refuse_text(ctx, p->file, p->unknown) : FDIT_OK;
}

/* ------------------------------------------------------------------ names, and what they build */

enum fdit_status fdit_pt_push_name(struct fdit_pt_pickle *p, const char *module, size_t n_module,
                                   const char *name, size_t n_name)
{
    char a[81], b[81], full[164];
    for (size_t i = 0; i < sizeof pt_globals / sizeof *pt_globals; i++) {
        const struct global *g = &pt_globals[i];
        if (g->name[0] == '*' && n_module >= strlen(g->module) &&
            !memcmp(g->module, module, strlen(g->module)) &&
            (n_module == strlen(g->module) || module[strlen(g->module)] == '.'))
            return fdit_pt_push_new(p, FDIT_PT_GLOBAL, (int64_t)i);
        if (strlen(g->module) == n_module && strlen(g->name) == n_name &&
            !memcmp(g->module, module, n_module) && !memcmp(g->name, name, n_name))
            return fdit_pt_push_new(p, FDIT_PT_GLOBAL, (int64_t)i);
    }
    snprintf(full, sizeof full, "%s.%s", shown(module, n_module, a), shown(name, n_name, b));
    if (acts(module, n_module))
        return refuse_text(p->ctx, p->file, full);
    if (!*p->unknown)
        memcpy(p->unknown, full, sizeof full);
    return fdit_pt_push_new(p, FDIT_PT_GLOBAL, -1);
}

static const struct global *global_of(const struct fdit_pt_value *v)
{
    return v->kind == FDIT_PT_GLOBAL && v->i >= 0 ? &pt_globals[v->i] : NULL;
}

/* An unknown name, or what came of one. */
static bool is_unknown(const struct fdit_pt_value *v)
{
    return v->kind == FDIT_PT_INERT || (v->kind == FDIT_PT_GLOBAL && v->i < 0);
}

static bool is_index(const struct fdit_pt_value *v)
{
    return v->kind == FDIT_PT_INT && v->i >= 0;
}

static bool are_indices(const struct fdit_pt_value *v)
{
    bool ok = (v->kind == FDIT_PT_TUPLE || v->kind == FDIT_PT_LIST) && v->n <= FDIT_ST_MAX_RANK;
    for (size_t i = 0; ok && i < v->n; i++)
        ok = is_index(v->items[i]);
    return ok;
}

static enum fdit_status build_tensor(struct fdit_pt_pickle *p, const struct fdit_pt_value *args,
                                     struct fdit_pt_value **out)
{
    enum fdit_status status = FDIT_OK;
    if (args->n && is_unknown(args->items[0])) /* numbers of a kind that is not known */
        return fdit_pt_value_new(p, FDIT_PT_INERT, out);
    if (args->n < 4 || args->items[0]->kind != FDIT_PT_STORAGE)
        return fdit_pt_bad(p, "a tensor without storage, offset, shape and strides");
    if (!is_index(args->items[1]))
        return fdit_pt_bad(p, "a tensor whose offset in its storage is negative or not a number");
    if (!are_indices(args->items[2]) || !are_indices(args->items[3]) ||
        args->items[2]->n != args->items[3]->n)
        return fdit_pt_bad(p, "a tensor whose shape and strides are not such lists of at most 16 numbers");
    TRY(fdit_pt_value_new(p, FDIT_PT_TENSOR, out));
    struct fdit_pt_value *t = *out, *parts[] = { args->items[0], args->items[2], args->items[3] };
    t->offset = args->items[1]->i;
    t->type = parts[0]->type;
    if (parts[0]->untyped) { /* the dtype is an argument then */
        const struct global *g = args->n > 6 ? global_of(args->items[6]) : NULL;
        if (!g || g->rule != RULE_DTYPE)
            return fdit_pt_bad(p, "a tensor of a type that is not known here");
        t->type = g->type;
    }
    TRY(fdit_pt_append(p, t, parts, 3));
    t->depth = 0; /* what a container counts is what it holds, not what a tensor is made of */
out:
    return status;
}

/* A dict from nothing, a dict, or a list of pairs; defaultdict's function is left out. */
static enum fdit_status build_dict(struct fdit_pt_pickle *p, const struct fdit_pt_value *args,
                                   struct fdit_pt_value **out)
{
    enum fdit_status status = FDIT_OK;
    TRY(fdit_pt_value_new(p, FDIT_PT_DICT, out));
    const struct fdit_pt_value *from = args->n ? args->items[args->n - 1] : NULL;
    if (!from || from->kind == FDIT_PT_GLOBAL || from->kind == FDIT_PT_NONE)
        return FDIT_OK;
    if (from->kind == FDIT_PT_DICT)
        return fdit_pt_append(p, *out, from->items, from->n);
    if (from->kind != FDIT_PT_LIST && from->kind != FDIT_PT_TUPLE)
        return fdit_pt_bad(p, "a dictionary that is made of something else than pairs");
    for (size_t i = 0; i < from->n; i++) {
        const struct fdit_pt_value *pair = from->items[i];
        if ((pair->kind != FDIT_PT_TUPLE && pair->kind != FDIT_PT_LIST) || pair->n != 2)
            return fdit_pt_bad(p, "a dictionary that is made of something else than pairs");
        TRY(fdit_pt_append(p, *out, pair->items, 2));
    }
out:
    return status;
}

/* The value that a call of g would give. */
static enum fdit_status build(struct fdit_pt_pickle *p, const struct global *g,
                              const struct fdit_pt_value *args, struct fdit_pt_value **out)
{
    const struct global *inner;
    switch (g->rule) {
    case RULE_DICT: return build_dict(p, args, out);
    case RULE_TENSOR: return build_tensor(p, args, out);
    case RULE_PARAMETER:
        if (args->n && is_unknown(args->items[0]))
            return fdit_pt_value_new(p, FDIT_PT_INERT, out);
        if (!args->n || args->items[0]->kind != FDIT_PT_TENSOR)
            return fdit_pt_bad(p, "a parameter that is not a tensor");
        *out = args->items[0];
        return FDIT_OK;
    case RULE_FROM_TYPE:
        if (args->n && is_unknown(args->items[0]))
            return fdit_pt_value_new(p, FDIT_PT_INERT, out);
        inner = args->n > 2 ? global_of(args->items[0]) : NULL;
        if (!inner || inner->rule == RULE_FROM_TYPE || args->items[2]->kind != FDIT_PT_TUPLE)
            return fdit_pt_bad(p, "a tensor of an unknown class");
        return build(p, inner, args->items[2], out);
    case RULE_TUPLE:
    case RULE_SAME:
        if (args->n == 1) {
            *out = args->items[0];
            return FDIT_OK;
        }
        return fdit_pt_value_new(p, args->n ? FDIT_PT_INERT : FDIT_PT_TUPLE, out);
    case RULE_TEXT:
        if (!args->n || args->items[0]->kind != FDIT_PT_TEXT)
            return fdit_pt_bad(p, "bytes that are made of something else than text");
        *out = args->items[0];
        return FDIT_OK;
    case RULE_OBJECT: return fdit_pt_value_new(p, FDIT_PT_OBJECT, out);
    case RULE_RECONSTRUCTOR:
        inner = args->n ? global_of(args->items[0]) : NULL;
        return fdit_pt_value_new(p, inner && inner->rule == RULE_OBJECT ? FDIT_PT_OBJECT : FDIT_PT_INERT,
                                 out);
    case RULE_INERT: return fdit_pt_value_new(p, FDIT_PT_INERT, out);
    case RULE_STORAGE:
    case RULE_DTYPE: break;
    }
    return fdit_fail(p->ctx, FDIT_ERROR_FORMAT,
                     "%s: calls %s.%s, which is a type; the file is damaged or not a checkpoint", p->file,
                     g->module, g->name);
}

/* function, arguments -> value; both taken from the stack. */
enum fdit_status fdit_pt_reduce(struct fdit_pt_pickle *p)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *args = NULL, *function = NULL, *v = NULL;
    TRY(fdit_pt_pop(p, &args));
    TRY(fdit_pt_pop(p, &function));
    const struct global *g = global_of(function);
    if (!g && is_unknown(function))
        return fdit_pt_push_new(p, FDIT_PT_INERT, 0);
    if (!g)
        return fdit_pt_bad(p, "calls something that is not a name");
    if (args->kind != FDIT_PT_TUPLE)
        return fdit_pt_bad(p, "calls a name with something else than a tuple");
    TRY(build(p, g, args, &v));
    TRY(fdit_pt_push(p, v));
out:
    return status;
}

/* object, state -> object. State of dicts (state_dict's _metadata) and tensors is left out. */
enum fdit_status fdit_pt_set_state(struct fdit_pt_pickle *p)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *state = NULL, *object = NULL;
    TRY(fdit_pt_pop(p, &state));
    TRY(fdit_pt_top(p, &object));
    if (object->kind == FDIT_PT_OBJECT) {
        if (state->kind != FDIT_PT_DICT || object->n)
            return fdit_pt_bad(p, "attributes of an object that are not a dictionary");
        TRY(fdit_pt_append(p, object, &state, 1));
    } else if (object->kind != FDIT_PT_DICT && object->kind != FDIT_PT_TENSOR &&
               object->kind != FDIT_PT_LIST && object->kind != FDIT_PT_TUPLE && !is_unknown(object)) {
        return fdit_pt_bad(p, "gives attributes to a value that has none");
    }
out:
    return status;
}

/* ('storage', type, key, location, elements[, view]) -> storage. */
enum fdit_status fdit_pt_persistent(struct fdit_pt_pickle *p)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_pt_value *id = NULL, *v = NULL;
    TRY(fdit_pt_pop(p, &id));
    if (id->kind != FDIT_PT_TUPLE || id->n < 1)
        return fdit_pt_bad(p, "an outside reference that is not a tuple");
    if (fdit_pt_is_text(id->items[0], "module"))
        return fdit_fail(p->ctx, FDIT_ERROR_UNSUPPORTED,
                         "%s: holds a whole pickled module, which is code; load it in PyTorch and "
                         "save its state_dict()",
                         p->file);
    if (id->n > 1 && is_unknown(id->items[1])) /* of a type that is not known here */
        return fdit_pt_push_new(p, FDIT_PT_INERT, 0);
    const struct global *g = id->n >= 5 ? global_of(id->items[1]) : NULL;
    if (!g || g->rule != RULE_STORAGE || !fdit_pt_is_text(id->items[0], "storage") ||
        id->items[2]->kind != FDIT_PT_TEXT || !is_index(id->items[4]))
        return fdit_pt_bad(p, "an outside reference that is not a storage of numbers");
    TRY(fdit_pt_value_new(p, FDIT_PT_STORAGE, &v));
    v->type = g->type == FDIT_ST_TYPES ? FDIT_ST_U8 : g->type;
    v->untyped = g->type == FDIT_ST_TYPES;
    v->text = id->items[2]->text;
    v->n = id->items[2]->n;
    v->i = id->items[4]->i;
    if (id->n > 5 && id->items[5]->kind == FDIT_PT_TUPLE) { /* (key, offset, elements) */
        const struct fdit_pt_value *view = id->items[5];
        if (view->n != 3 || !is_index(view->items[1]) || !is_index(view->items[2]) ||
            view->items[1]->i > v->i || view->items[2]->i > v->i - view->items[1]->i)
            return fdit_pt_bad(p, "a view that reaches outside its storage");
        v->offset = view->items[1]->i;
    }
    TRY(fdit_pt_push(p, v));
out:
    return status;
}
