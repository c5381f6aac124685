#include "generators.h"

u32 base_seed = 1;

/* ---------------------------------------------------------------------------------------------- generators */
#define LOOP(f, through_key)                                                          \
    static void many_##f(const inputs *at, u32 *words, size_t n) {                    \
        for (size_t j = 0; j < n; j++) {                                              \
            u32 k1 = at->k1[j] + (through_key ? at->h[j] * 0xD3A2646Du : 0);          \
            words[j] = f(at->k0[j], k1, at->T[j], at->U[j], at->i[j], at->h[j]);      \
        }                                                                             \
    }
GENERATORS(LOOP)

static const struct {
    const char *name;
    void (*many)(const inputs *, u32 *, size_t);
} generators[] = {
#define ROW(f, through_key) {#f, many_##f},
    GENERATORS(ROW)
};
static size_t generator;

int set_generator(const char *name) {
    for (generator = 0; generator < sizeof generators / sizeof *generators; generator++)
        if (!strcmp(name, generators[generator].name)) return 0;
    return -1;
}
void evaluate(const inputs *at, u32 *words, size_t n) { generators[generator].many(at, words, n); }

/* ---------------------------------------------------------------------------------------------------- axes */
static u32 K0, K1, TAG, leaves[2][65536];

/* jax.random.split(key)[n] (partitionable threefry) and jax.random.fold_in(key, n) both encrypt (0, n). */
void jax_child(u32 k0, u32 k1, u32 n, u32 *child0, u32 *child1) {
    u32 x0 = 0, x1 = n;
    threefry(k0, k1, &x0, &x1, 20);
    *child0 = x0;
    *child1 = x1;
}
static u32 child(int which, u64 n) {
    u32 words[2];
    jax_child(K0, K1, (u32)n, &words[0], &words[1]);
    return words[which];
}
static u32 chained(int which, u64 n) {
    static u32 key[2], sub[2];
    if (n % 4 == 0 && which == 0) {
        u32 k0 = n ? key[0] : 0, k1 = n ? key[1] : base_seed;
        jax_child(k0, k1, 0, &key[0], &key[1]);
        jax_child(k0, k1, 1, &sub[0], &sub[1]);
    }
    return sub[which];
}
static u32 bitrev(u32 x) {
    x = (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
    x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
    x = (x >> 4 & 0x0F0F0F0Fu) | (x & 0x0F0F0F0Fu) << 4;
    return __builtin_bswap32(x);
}

#define LO ((u32)n)
#define HI ((u32)(n >> 32))
/* The axes name a tag by its first constant. Both are digests of the tag's name: a hash stands for the second. */
#define PUT(p, k0_, k1_, T_, i_, h_) \
    (p)->k0[j] = (u32)(k0_), (p)->k1[j] = (u32)(k1_), (p)->T[j] = (u32)(T_), (p)->U[j] = lowbias(~(u32)(T_)), \
    (p)->i[j] = (u32)(i_), (p)->h[j] = (u32)(h_)
#define UNPACK(...) __VA_ARGS__
#define PUT_(p, ...) PUT(p, __VA_ARGS__)
#define ONE(name, ...)                                                  \
    static void along_##name(inputs *p, inputs *q, u64 start) {         \
        (void)q;                                                        \
        for (u32 j = 0; j < BLOCK; j++) { u64 n = start + j; PUT_(p, __VA_ARGS__); } \
    }
#define TWO(name, first, second)                                        \
    static void along_##name(inputs *p, inputs *q, u64 start) {         \
        for (u32 j = 0; j < BLOCK; j++) { u64 n = start + j; PUT_(p, UNPACK first); PUT_(q, UNPACK second); } \
    }
#include "axes.h"
#undef ONE
#undef TWO
static const struct {
    const char *name;
    void (*along)(inputs *, inputs *, u64);
    int streams;
} axes[] = {
#define ONE(name, ...) {#name, along_##name, 1},
#define TWO(name, first, second) {#name, along_##name, 2},
#include "axes.h"
};
static size_t axis;
static u64 position;

/* What is read of each word: all of it, its bits reversed, or a part of it, packed. */
static const struct {
    const char *name;
    int bits, shift;
} posts[] = {{"", 32, 0}, {"rev", 32, 0}, {"lo8", 8, 0}, {"hi8", 8, 24}, {"lo16", 16, 0}, {"lo1", 1, 0}};
static size_t post;

int set_axis(const char *text) {
    char name[64];
    snprintf(name, sizeof name, "%s", text);
    char *colon = strchr(name, ':');
    if (colon) *colon++ = 0;
    for (post = 0; strcmp(colon ? colon : "", posts[post].name);)
        if (++post == sizeof posts / sizeof *posts) return -1;
    jax_child(0, base_seed, 1, &K0, &K1);
    TAG = lowbias(base_seed ^ 0xABCDEF01u);
    position = 0;
    for (u32 a = 0; a < 256; a++) { /* split(split(root, 256)[a], 256) */
        u32 k0, k1;
        jax_child(0, base_seed, a, &k0, &k1);
        for (u32 b = 0; b < 256; b++) jax_child(k0, k1, b, &leaves[0][b * 256 + a], &leaves[1][b * 256 + a]);
    }
    for (axis = 0; axis < sizeof axes / sizeof *axes; axis++)
        if (!strcmp(name, axes[axis].name)) return 0;
    return -1;
}
static void whole_block(u32 *words) {
    static inputs p, q;
    static u32 other[BLOCK];
    axes[axis].along(&p, &q, position);
    position += BLOCK;
    evaluate(&p, words, BLOCK);
    if (axes[axis].streams == 2) {
        evaluate(&q, other, BLOCK);
        for (u32 j = 0; j < BLOCK; j++) words[j] ^= other[j];
    }
}
void next_block(u32 *words) {
    static u32 whole[BLOCK];
    u32 bits = posts[post].bits, each = 32 / bits;
    if (bits == 32) {
        whole_block(words);
        if (post) for (u32 j = 0; j < BLOCK; j++) words[j] = bitrev(words[j]);
        return;
    }
    for (u32 part = 0; part < each; part++) {
        whole_block(whole);
        for (u32 j = 0; j < BLOCK / each; j++) {
            u32 packed = 0;
            for (u32 r = 0; r < each; r++)
                packed |= (whole[each * j + r] >> posts[post].shift & ((1u << bits) - 1)) << (bits * r);
            words[part * (BLOCK / each) + j] = packed;
        }
    }
}
u32 next_word(void) {
    static u32 block[BLOCK], at = BLOCK;
    if (at == BLOCK) next_block(block), at = 0;
    return block[at++];
}

int set_stream(int argc, char **argv) {
    for (int a = 3; a + 1 < argc; a++)
        if (!strcmp(argv[a], "-s")) base_seed = (u32)strtoul(argv[a + 1], 0, 0);
    if (argc >= 3 && !set_generator(argv[1]) && !set_axis(argv[2])) return 0;
    fputs("generators:", stderr);
    for (size_t j = 0; j < sizeof generators / sizeof *generators; j++) fprintf(stderr, " %s", generators[j].name);
    fputs("\naxes:", stderr);
    for (size_t j = 0; j < sizeof axes / sizeof *axes; j++) fprintf(stderr, " %s", axes[j].name);
    fputs("\nafter an axis, a part of each word: :rev :lo8 :hi8 :lo16 :lo1\n", stderr);
    return -1;
}
