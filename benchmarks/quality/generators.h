/* The generators: the library's (mix13c), those that came before it, and peers.

   All but the block ciphers take the high word h of the index through k1 (see evaluate); a cipher's counter has room. */
#include "streams.h"

#define FN static inline __attribute__((always_inline)) u32
#define INPUTS u32 k0, u32 k1, u32 T, u32 U, u32 i, u32 h /* U: of mix11 to mix13c and mix14c alone */

static inline u32 rotl(u32 x, int r) { return (x << (r & 31)) | (x >> (-r & 31)); }

/* What mix13c and its shorter forms share: the two halves up to their product. U only moves k0. `add`: mix11's step. */
static inline __attribute__((always_inline)) void halves(INPUTS, int add, u32 *pa, u32 *pb) {
    u32 a = i * 0x9E3779B1u + k1, b = i * 0x85EBCA77u + (k0 ^ U);
    a ^= (a >> 16) ^ T;
    a = a * 0xED5AD4BBu + b;
    b += a >> 16;
    b = b * 0xAC4C1B51u + a;
    a = add ? a + (b >> 16) : a ^ (b >> 16);
    *pa = a * b + b;
    *pb = b;
}

/* noisejax._generators.hash_words: until the product a is a bijection of each input, and the pair (a, b) of the key
   words. A shift and an add are one instruction on NVIDIA's GPUs, a shift and an xor are two. */
FN mix13c(INPUTS) {
    u32 a, b;
    halves(k0, k1, T, U, i, h, 0, &a, &b);
    a += a >> 15;
    b += a >> 16;
    return a * 0x31848BABu + b;
}

/* Rejected: without a += a >> 15; the lowest bits of 2^36 words along the index show it. */
FN mix12(INPUTS) {
    u32 a, b;
    halves(k0, k1, T, U, i, h, 0, &a, &b);
    return a * 0x31848BABu + b + (a >> 16);
}

/* Rejected: mix12 with a += b >> 16 for its second xor; the lowest bits along the seeds show it at once. */
FN mix11(INPUTS) {
    u32 a, b;
    halves(k0, k1, T, U, i, h, 1, &a, &b);
    return a * 0x31848BABu + b + (a >> 16);
}

/* Rejected: the lowest bit is weak where index, k1 and T are 0, and U enters too late: the xor of streams that differ
   in its high bits alone shows it. */
FN mix14c(INPUTS) {
    u32 a = i * 0x9E3779B1u + k1, b = i * 0x85EBCA77u + k0;
    a ^= (a >> 16) ^ T;
    a = a * 0xED5AD4BBu + b;
    b ^= (a >> 16) ^ U;
    b = b * 0xAC4C1B51u + a;
    a ^= b >> 16;
    a = a * b + b;
    a ^= a >> 15;
    return a * 0x31848BABu + b;
}

/* Rejected: the top bits of k0 reach the product through one shift only, and the xor of two streams shows it. */
FN mix14b(INPUTS) {
    u32 a = i * 0x9E3779B1u + k1, b = i * 0x85EBCA77u + k0;
    a ^= (a >> 16) ^ T;
    a = a * 0xED5AD4BBu + b;
    b ^= (a >> 16) ^ rotl(T, 13);
    b = b * 0xAC4C1B51u + a;
    a = a * b + b;
    a ^= a >> 15;
    a = a * 0x31848BABu + b;
    return a ^ (a >> 16);
}

/* Rejected: a reaches the product without having been multiplied, and T << 13 drops the tag's top bits. */
FN mix13(INPUTS) {
    u32 a = i * 0x9E3779B1u + k1, b = i * 0x85EBCA77u + k0;
    a ^= (a >> 16) ^ T;
    b = b * 0xED5AD4BBu + a;
    b ^= (b >> 16) ^ (T << 13);
    a = a * b + b;
    a ^= a >> 15;
    a = a * 0x31848BABu + b;
    return a ^ (a >> 16);
}

/* Rejected: where i * 0x85EBCA77 + k0 is 0 the product vanishes, as along the seeds at index 0. */
FN mix13b(INPUTS) {
    u32 a = i * 0x9E3779B1u + k1, b = i * 0x85EBCA77u + k0;
    a ^= (a >> 16) ^ T;
    a = a * 0xED5AD4BBu + b;
    a ^= (a >> 15) ^ rotl(T, 13);
    b = a * b + a;
    b ^= b >> 16;
    b = b * 0x31848BABu + a;
    return b ^ (b >> 15);
}

/* Rejected: the tag enters a twice, and along the tags a takes some values twice and others never. */
FN mix14(INPUTS) {
    u32 a = i * 0x9E3779B1u + k1, b = i * 0x85EBCA77u + k0;
    a ^= (a >> 16) ^ T;
    a = a * 0xED5AD4BBu + b;
    a ^= (a >> 15) ^ rotl(T, 13);
    b = b * 0xAC4C1B51u + a;
    a = a * b + b;
    a ^= a >> 16;
    a = a * 0x31848BABu + b;
    return a ^ (a >> 15);
}

/* Threefry2x32 (Salmon et al. 2011), first word. */
static inline __attribute__((always_inline)) void threefry(u32 k0, u32 k1, u32 *x0, u32 *x1, int rounds) {
    static const int R[8] = {13, 15, 26, 6, 17, 29, 16, 24};
    u32 ks[3] = {k0, k1, 0x1BD11BDAu ^ k0 ^ k1}, a = *x0 + k0, b = *x1 + k1;
#pragma GCC unroll 32
    for (int r = 0; r < rounds; r++) {
        a += b;
        b = rotl(b, R[r & 7]) ^ a;
        if ((r & 3) == 3) {
            int s = (r >> 2) + 1;
            a += ks[s % 3];
            b += ks[(s + 1) % 3] + s;
        }
    }
    *x0 = a;
    *x1 = b;
}
FN tf13(INPUTS) { u32 a = h ^ T, b = i; threefry(k0, k1, &a, &b, 13); return a; }
FN tf20(INPUTS) { u32 a = h ^ T, b = i; threefry(k0, k1, &a, &b, 20); return a; }

/* Philox4x32-10 (Salmon et al. 2011), first word. */
FN philox10(INPUTS) {
    u32 c0 = i, c1 = h, c2 = T, c3 = 0;
#pragma GCC unroll 10
    for (int r = 0; r < 10; r++) {
        u64 p = (u64)0xD2511F53u * c0, q = (u64)0xCD9E8D57u * c2;
        u32 n0 = (u32)(q >> 32) ^ c1 ^ k0, n2 = (u32)(p >> 32) ^ c3 ^ k1;
        c1 = (u32)q; c3 = (u32)p; c0 = n0; c2 = n2;
        k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
    }
    return c0;
}

/* pcg4d (Jarzynski and Olano 2020), last word, with one xor-shift more. */
FN pcg4dw(INPUTS) {
    u32 x = i * 1664525u + 1013904223u, y = k0 * 1664525u + 1013904223u;
    u32 z = k1 * 1664525u + 1013904223u, w = T * 1664525u + 1013904223u;
    x += y * w; y += z * x; z += x * y; w += y * z;
    x ^= x >> 16; y ^= y >> 16; z ^= z >> 16; w ^= w >> 16;
    x += y * w; y += z * x; z += x * y; w += y * z;
    return w ^ (w >> 16);
}

/* Two keyed finalizers over one index: the lowbias32 of C. Wellons and that of MurmurHash3. */
static inline u32 lowbias(u32 x) {
    x ^= x >> 16; x *= 0x7FEB352Du; x ^= x >> 15; x *= 0x846CA68Bu; x ^= x >> 16;
    return x;
}
static inline u32 murmur(u32 x) {
    x ^= x >> 16; x *= 0x85EBCA6Bu; x ^= x >> 13; x *= 0xC2B2AE35u; x ^= x >> 16;
    return x;
}
FN fin2(INPUTS) { return murmur(lowbias((i + k0) ^ T) ^ k1); }

/* X(name, whether h goes through k1) */
#define GENERATORS(X) X(mix13c, 1) X(mix12, 1) X(mix11, 1) X(mix14c, 1) X(mix14b, 1) X(mix13, 1) X(mix13b, 1) X(mix14, 1) \
    X(tf13, 0) X(tf20, 0) X(philox10, 0) X(pcg4dw, 1) X(fin2, 1)
