/* isa.c: the CPU backends: which instruction set this machine has, memory, and the kernel tables.
 *
 * A fast table starts as a copy of the float reference; every fast family then replaces its
 * entries, so that a kernel without a fast version is slow, never missing. */
#include "backend/cpu/isa.h"

#include "backend/cpu/cpu.h"
#include "base/memory.h"
#include "base/words.h"

#include <omp.h>
#include <stdlib.h>

/* The fastest first, each with all that the next one needs: what a machine lacks is always a
 * beginning of the list. */
typedef enum isa {
    ISA_AVX512VNNI, /* AVX-512 with products of bytes */
    ISA_AVX512,
    ISA_AVX2,
    ISA_GENERIC,
    ISA_REF32,
    ISA_REF64,
    ISA_N
} isa;

static const char *const NAMES[] = {
    "cpu:avx512vnni", "cpu:avx512", "cpu:avx2", "cpu:generic", "ref",
    "ref64",          "cpu",        NULL}; /* "cpu" stands for the first present */

static bool isa_present(isa id) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (id > ISA_AVX2) return true;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return false;
    if (id == ISA_AVX2) return true;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return false;
    return id == ISA_AVX512 || __builtin_cpu_supports("avx512vnni");
#else
    return id > ISA_AVX2;
#endif
}

static void fill_kernels(hy__kernels *k, isa id) {
#define FILL_REF32(f)   hy__ref_##f##_f32(k);
#define FILL_REF64(f)   hy__ref_##f##_f64(k);
#define FILL_GENERIC(f) hy__fast_##f##_generic(k);
#define FILL_AVX2(f)    hy__fast_##f##_avx2(k);
#define FILL_AVX512(f)  hy__fast_##f##_avx512(k);
    if (id == ISA_REF64) {
        HY__FAMILIES(FILL_REF64)
        return;
    }
    HY__FAMILIES(FILL_REF32)
    if (id == ISA_GENERIC) {
        HY__FAMILIES(FILL_GENERIC)
    }
#if defined(__x86_64__)
    if (id == ISA_AVX2) {
        HY__FAMILIES(FILL_AVX2)
    }
    if (id == ISA_AVX512 || id == ISA_AVX512VNNI) {
        HY__FAMILIES(FILL_AVX512)
    }
#endif
}

static void fill_quant(hy__quant_kernels *k, isa id) {
    if (id == ISA_GENERIC) hy__fast_quant_generic(k);
#if defined(__x86_64__)
    if (id == ISA_AVX2) hy__fast_quant_avx2(k);
    if (id == ISA_AVX512) hy__fast_quant_avx512(k);
    if (id == ISA_AVX512VNNI) hy__fast_quant_avx512vnni(k);
#endif
}

static hy_status cpu_buffer_new(hy__backend *be, size_t size, hy__buffer *out, hy_error *err) {
    (void)be;
    *out = (hy__buffer){.data = hy__memory_new(size, HY__ALIGN), .size = size};
    if (!out->data) {
        *out = (hy__buffer){0};
        return hy__no_memory(err, "%.1f MB", (double)size / 1e6);
    }
    return HY_OK;
}

static void cpu_buffer_free(hy__backend *be, hy__buffer *buf) {
    (void)be;
    free(buf->data);
    *buf = (hy__buffer){0};
}

static void cpu_write(hy__backend *be, hy__tensor dst, const void *src, size_t size) {
    (void)be;
    memcpy(hy__ptr(dst), src, size);
}

static void cpu_read(hy__backend *be, void *dst, hy__tensor src, size_t size) {
    (void)be;
    memcpy(dst, hy__ptr(src), size);
}

static void cpu_zero(hy__backend *be, hy__tensor dst, size_t size) {
    (void)be;
    memset(hy__ptr(dst), 0, size);
}

static void cpu_free(hy__backend *be) {
    hy__cpu *cpu = be->self;
    if (cpu) {
        hy__dnnl_free(cpu->dnnl);
        free(cpu->scratch);
        free(cpu);
    }
    free(be);
}

/* A kernel without its scratch writes nothing, and what it should have written may be indices to
 * the next. So all kernels rest until hy__backend_check has told of the failure; the first call
 * after that puts them back. */
#define DEFINE_RESTING(kernel, args)                                                               \
    static void resting_##kernel(hy__backend *be, const args *a) {                                 \
        if (be->error.status != HY_OK) return;                                                     \
        be->kernels = ((hy__cpu *)be->self)->kernels;                                              \
        be->kernels.kernel(be, a);                                                                 \
    }
HY__KERNELS(DEFINE_RESTING)

#define RESTING(kernel, args) .kernel = resting_##kernel,
static const hy__kernels resting = {HY__KERNELS(RESTING)};

void *hy__scratch(hy__backend *be, size_t size_per_thread) {
    hy__cpu *cpu = be->self;
    const size_t size = size_per_thread * (size_t)be->n_thread;
    HY_ASSERT(size_per_thread % HY__ALIGN == 0);
    if (cpu->scratch && size <= cpu->scratch_size) return cpu->scratch;
    free(cpu->scratch);
    cpu->scratch = hy__memory_new(size, HY__ALIGN);
    cpu->scratch_size = cpu->scratch ? size : 0;
    if (cpu->scratch) return cpu->scratch;
    be->kernels = resting;
    if (be->error.status == HY_OK)
        (void)hy__no_memory(&be->error, "%.1f MB of scratch", (double)size / 1e6);
    return NULL;
}

static isa best_isa(void) {
    isa id = 0;
    while (!isa_present(id)) id++;
    return id;
}

const char *const *hy__cpu_known(void) {
    return NAMES;
}

const char *const *hy__cpu_names(void) {
    return NAMES + best_isa();
}

static hy_status find_isa(const char *name, isa *id, hy_error *err) {
    *id = best_isa();
    if (strcmp(name, "cpu") == 0) return HY_OK;
    for (*id = 0; *id < ISA_N && strcmp(name, NAMES[*id]) != 0;) ++*id;
    if (*id == ISA_N) {
        char known[128];
        hy__words_list(known, sizeof known, NAMES, " and ");
        return hy__fail(err, HY_E_INVALID, "there is no backend \"%.60s\"; known are %s", name,
                        known);
    }
    if (isa_present(*id)) return HY_OK;
    return hy__fail(err, HY_E_UNSUPPORTED,
                    "backend \"%s\" needs instructions that this machine does not have", name);
}

hy_status hy__cpu_open(hy__backend **out, const char *name, int n_thread, hy_error *err) {
    isa id;
    HY_TRY(find_isa(name, &id, err));
    const bool is_ref = id >= ISA_REF32;
    hy__backend *be = calloc(1, sizeof *be);
    hy__cpu *cpu = calloc(1, sizeof *cpu);
    if (!be || !cpu) {
        free(be);
        free(cpu);
        return hy__no_memory(err, "the backend");
    }
    *be = (hy__backend){
        .name = is_ref ? NAMES[id] : "cpu",
        .isa = is_ref ? "" : NAMES[id] + strlen("cpu:"),
        .real = id == ISA_REF64 ? HY__DTYPE_F64 : HY__DTYPE_F32,
        .has_bf16 = id <= ISA_AVX512 && hy__dnnl_has_bf16(),
        .host_memory = true,
        .n_thread = n_thread > 0 ? n_thread : omp_get_num_procs(),
        .buffer_new = cpu_buffer_new,
        .buffer_free = cpu_buffer_free,
        .write = cpu_write,
        .read = cpu_read,
        .zero = cpu_zero,
        .free = cpu_free,
        .self = cpu,
    };
    fill_kernels(&cpu->kernels, id);
    fill_quant(&cpu->quant, id);
    be->kernels = cpu->kernels;
    if (!is_ref) cpu->dnnl = hy__dnnl_new(be->n_thread);
    if (!is_ref && !cpu->dnnl) {
        cpu_free(be);
        return hy__no_memory(err, "the backend");
    }
    *out = be;
    return HY_OK;
}
