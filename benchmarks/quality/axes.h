/* The axes: how key, tag and index go with the position n of a word in its stream.
   ONE(name, k0, k1, T, i, h), or TWO(name, (k0, k1, T, i, h), (k0, k1, T, i, h)) for the xor of two streams.
   K0, K1 are the words of a split key, TAG a tag's first constant, LO and HI the halves of n. Included once per use. */

/* the index alone */
ONE(idx, K0, K1, TAG, LO, HI)
ONE(idx0, 0, 0, 0, LO, HI)
ONE(idxs, 0, 42, TAG, LO, HI)                  /* jax.random.key(42) as it is */
ONE(idxff, ~0u, ~0u, ~0u, LO, HI)
ONE(idxrev, K0, K1, TAG, bitrev(LO), HI)
ONE(idxgray, K0, K1, TAG, LO ^ LO >> 1, HI)
ONE(st3, K0, K1, TAG, LO * 3u, HI)             /* strides */
ONE(st1000, K0, K1, TAG, n * 1000u, n * 1000u >> 32)
ONE(st256, K0, K1, TAG, rotl(LO, 8), HI)
ONE(st4096, K0, K1, TAG, rotl(LO, 12), HI)
ONE(st65536, K0, K1, TAG, rotl(LO, 16), HI)
ONE(st2p20, K0, K1, TAG, rotl(LO, 20), HI)
ONE(st2p28, K0, K1, TAG, rotl(LO, 28), HI)
ONE(invc1, K0, K1, TAG, LO * 0x0E8B2F51u, HI)  /* the first multiplier undone, then the second: a or b counts */
ONE(invc4, K0, K1, TAG, LO * 0xB6C92F47u, HI)
ONE(idx1b, K0, K1, TAG, lowbias((u32)(n >> 5)) ^ 1u << (n & 31), n >> 37)

/* key words, each at one index: raw seeds are (0, seed) */
ONE(k0, LO, K1, TAG, HI, 0)
ONE(k1, K0, LO, TAG, HI, 0)
ONE(seed, 0, LO, TAG, HI, 0)
ONE(seed7, 0, LO, TAG, 7 + HI, 0)
ONE(k0z, LO, 0, TAG, HI, 0)
ONE(seedz, 0, LO, 0, HI, 0)
ONE(k0zz, LO, 0, 0, HI, 0)
ONE(tagz, 0, 0, LO, HI, 0)
ONE(tag20, 0, 42, LO, (1u << 20) + HI, 0)
ONE(sd1, 0, LO, TAG, 1u, HI)
ONE(sd1000, 0, LO, TAG, 1000 + HI, 0)
ONE(sd16, 0, LO, TAG, 1u << 16, HI)
ONE(sd20, 0, LO, TAG, 1u << 20, HI)
ONE(sd24, 0, LO, TAG, 1u << 24, HI)
ONE(sd28, 0, LO, TAG, 1u << 28, HI)
ONE(sd31, 0, LO, TAG, 1u << 31, HI)
ONE(k0top, rotl(LO, 20), K1, TAG, HI, 0)       /* high bits move first */
ONE(k1top, K0, rotl(LO, 20), TAG, HI, 0)
ONE(kboth, LO, LO, TAG, HI, 0)
ONE(ieqk1, K0, LO, TAG, LO, HI)                /* index = key */
ONE(ieqk0, LO, K1, TAG, LO, HI)
ONE(ieqs, 0, LO, TAG, LO, HI)
ONE(ieqboth, LO, LO, TAG, LO, HI)
ONE(il2, 0, LO & 1, TAG, n >> 1, n >> 33)      /* consecutive seeds interleaved */
ONE(il16, 0, LO & 15, TAG, n >> 4, n >> 36)
ONE(il256, 0, LO & 255, TAG, n >> 8, n >> 40)
ONE(il65536, 0, LO & 65535, TAG, n >> 16, n >> 48)
ONE(il256k0, LO & 255, K1, TAG, n >> 8, n >> 40)
ONE(il256top, 0, LO << 24, TAG, n >> 8, n >> 40)
ONE(seed256, 0, n >> 8, TAG, n & 255, 0)       /* 256 words of each seed */
ONE(key1b, K0 ^ ((n & 32) ? 1u << (n & 31) : 0), K1 ^ ((n & 32) ? 0 : 1u << (n & 31)), TAG, n >> 6, n >> 38)

/* keys as jax.random makes them */
ONE(split, leaves[0][LO & 65535], leaves[1][LO & 65535], TAG, n >> 16, n >> 48)
ONE(fold, child(0, n >> 4), child(1, n >> 4), TAG, n & 15, n >> 36)
ONE(fold1, child(0, LO), child(1, LO), TAG, HI, 0)
ONE(fold1k, child(0, n >> 10), child(1, n >> 10), TAG, n & 1023, n >> 42)
ONE(chain, chained(0, n), chained(1, n), TAG, n & 3, 0) /* key, sub = split(key), four words of sub, and so on */

/* tags */
ONE(tag, K0, K1, LO, HI, 0)
ONE(tags, 0, 42, LO, HI, 0)
ONE(tagtop, K0, K1, rotl(LO, 20), HI, 0)
ONE(tagh, K0, K1, lowbias(LO ^ 0x5BD1E995u), HI, 0)
ONE(taghil, K0, K1, lowbias((LO & 15) ^ 0x5BD1E995u), n >> 4, n >> 36)
ONE(tagil, K0, K1, LO & 255, n >> 8, n >> 40)
ONE(tag1b, K0, K1, TAG ^ 1u << (n & 31), n >> 5, n >> 37)
ONE(ieqtag, K0, K1, LO, LO, HI)
ONE(tageqk1, K0, LO, LO, HI, 0)

/* the high word of the index */
ONE(high, K0, K1, TAG, HI, LO)
ONE(highs, 0, 0, TAG, HI, LO)
ONE(high4, K0, K1, TAG, n & 3, n >> 2)
ONE(highil, K0, K1, TAG, n >> 8, n & 255)
ONE(high1b, K0, K1, TAG, n >> 5, 1u << (n & 31))
ONE(hix, 0, 0, TAG, LO + 0xFFF00000u, LO + 0xFFF00000u < LO)

/* the xor of two streams that are neighbours: bits that run through all 32, the top or the lowest bit, ... */
TWO(xk0, (K0, K1, TAG, n >> 5, n >> 37), (K0 ^ 1u << (n & 31), K1, TAG, n >> 5, n >> 37))
TWO(xk1, (K0, K1, TAG, n >> 5, n >> 37), (K0, K1 ^ 1u << (n & 31), TAG, n >> 5, n >> 37))
TWO(xkk, (K0, K1, TAG, n >> 5, n >> 37), (K0 ^ 1u << (n & 31), K1 ^ 1u << (n & 31), TAG, n >> 5, n >> 37))
TWO(xk0top, (K0, K1, TAG, LO, HI), (K0 ^ 1u << 31, K1, TAG, LO, HI))
TWO(xk1top, (K0, K1, TAG, LO, HI), (K0, K1 ^ 1u << 31, TAG, LO, HI))
TWO(xkktop, (K0, K1, TAG, LO, HI), (K0 ^ 1u << 31, K1 ^ 1u << 31, TAG, LO, HI))
TWO(xkklow, (K0, K1, TAG, LO, HI), (K0 ^ 1, K1 ^ 1, TAG, LO, HI))
TWO(xseed, (0, 0, TAG, LO, HI), (0, 1, TAG, LO, HI))
TWO(xtag, (K0, K1, TAG, n >> 5, n >> 37), (K0, K1, TAG ^ 1u << (n & 31), n >> 5, n >> 37))
TWO(xtagtop, (K0, K1, TAG, LO, HI), (K0, K1, TAG ^ 1u << 31, LO, HI))
TWO(xtop, (K0, K1, TAG, LO, HI), (K0, K1, TAG, LO ^ 1u << 31, HI)) /* repeats after 2^31 words */
TWO(x64k, (K0, K1, TAG, LO, HI), (K0, K1, TAG, LO + 65536u, HI))
TWO(xh, (K0, K1, TAG, LO, 0), (K0, K1, TAG, LO, 1))
