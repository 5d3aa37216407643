/* mkl_amd.c: PyTorch's fp32 products are MKL's, which takes its AVX2 kernels on a CPU that is not
 * Intel's, at half the speed of AVX-512. Preloaded, this makes the answer to its question yes. */
int mkl_serv_intel_cpu_true(void);

int mkl_serv_intel_cpu_true(void) {
    return 1;
}
