import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
import twin
from noisejax._random.generators import GENERATORS, hash_words, threefry2x32
from noisejax._random.stream import Stream, fold, jax_key, multiply_wide, stage, words

# (64-bit index, key word 0, key word 1, the two constants of a place) -> word, by an independent program in C.
KNOWN = [
    ((0x0000000001, 0x00000000, 0x00000000, 0x00000000, 0x00000000), 0x754D2103),
    ((0x0000000000, 0x00000000, 0x0000002A, 0x00000000, 0x00000000), 0xF342AC01),
    ((0x0000003039, 0x00000000, 0x0000002A, 0x6A09E667, 0xBB67AE85), 0xF078BFEB),
    ((0x0000000000, 0x12345678, 0x9ABCDEF0, 0xDEADBEEF, 0xFEEDFACE), 0x2E86D011),
    ((0x00FFFFFFFF, 0x12345678, 0x9ABCDEF0, 0xDEADBEEF, 0xFEEDFACE), 0x67068B10),
    ((0x00FFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), 0xBBBA2D82),
    ((0x0080000000, 0x80000000, 0x00000001, 0x80000000, 0x80000000), 0x5FF42F8C),
    ((0x0003707344, 0x243F6A88, 0x85A308D3, 0x13198A2E, 0xA4093822), 0xC43FCD89),
    ((0x0100003039, 0x00000000, 0x0000002A, 0x6A09E667, 0xBB67AE85), 0x319BD349),
    ((0xFF03707344, 0x243F6A88, 0x85A308D3, 0x13198A2E, 0xA4093822), 0x36A3DB72),
]
SEED_0_GAUSSIAN = [3337286556, 3828673272, 3943502512, 1947595049]
# Threefry2x32 with 20 rounds: counter, key and block, from Random123's kat_vectors.
PUBLISHED = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def raw(k0, k1):
    return jnp.array([k0, k1], jnp.uint32)


every = pytest.mark.parametrize("generator", GENERATORS)


@pytest.mark.parametrize(("counter", "key", "block"), PUBLISHED)
def test_threefry_is_the_published_one(counter, key, block):
    words_in = [jnp.uint32(w) for w in (*key, *counter)]
    assert tuple(int(w) for w in threefry2x32(*words_in)) == block
    assert tuple(int(w) for w in twin.threefry2x32(key, counter)) == block


def test_threefry_is_jax_s_too():
    """A second reference: JAX's block function, on random inputs."""
    key, counter = np.random.default_rng(0).integers(0, 2**32, (2, 2, 100), dtype=np.uint32)
    ours = jax.jit(threefry2x32)(*key, *counter)
    theirs = jax.vmap(jax.extend.random.threefry_2x32, (1, 1), 1)(key, counter)
    np.testing.assert_array_equal(jnp.stack(ours), theirs)
    np.testing.assert_array_equal(np.stack(ours)[:, 0], twin.threefry2x32(key[:, 0], counter[:, 0]))


@pytest.mark.slow
@every
def test_words_of_either_generator_are_those_of_the_twin(generator):
    """Along the index, beyond 32 bits, at places; two halves, N-D and traced offsets, as one device or eight."""
    stream = stage(Stream(raw(0x01234567, 0x89ABCDEF), generator=generator), 3, "x")

    def expected(index):
        return twin.words(generator, index, 0x01234567, 0x89ABCDEF, (3, "x"), "t")

    np.testing.assert_array_equal(words(stream, "t", (3, 5)).ravel(), expected(np.arange(15)))
    np.testing.assert_array_equal(words(stream, "t", (7,), offset=8), expected(np.arange(8, 15)))
    np.testing.assert_array_equal(jax.jit(lambda n: words(stream, "t", (7,), offset=n))(8), expected(np.arange(8, 15)))
    far = 2**52 + 2**32 - 2
    np.testing.assert_array_equal(words(stream, "t", (4,), offset=far), expected(far + np.arange(4)))
    mesh = jax.make_mesh((8,), ("a",))
    sharded = jax.jit(
        lambda stream: words(stream, "t", (16, 2)), out_shardings=jax.NamedSharding(mesh, jax.P("a", None))
    )
    np.testing.assert_array_equal(sharded(stream).ravel(), expected(np.arange(32)))
    keys = jnp.stack([raw(1, 2), raw(3, 4)])
    mapped = jax.vmap(lambda key: words(Stream(key, generator=generator), "t", (5,)))(keys)
    rows = [twin.words(generator, np.arange(5), *pair, (), "t") for pair in ((1, 2), (3, 4))]
    np.testing.assert_array_equal(mapped, rows)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (64,), (3, 5), (2, 3, 4, 5), (1, 9, 1), (0,), (4, 0)])
def test_words_are_those_of_the_twin(shape):
    key = raw(0x01234567, 0x89ABCDEF)
    expected = twin.mix(np.arange(np.prod(shape, dtype=int)), 0x01234567, 0x89ABCDEF, twin.place((), "t"))
    drawn = words(key, "t", shape)
    assert drawn.dtype == jnp.uint32
    np.testing.assert_array_equal(drawn, expected.reshape(shape))


@pytest.mark.parametrize(("inputs", "word"), KNOWN)
def test_known_answers(inputs, word, monkeypatch):
    index, k0, k1, *place = inputs
    monkeypatch.setattr("noisejax._random.stream._place", lambda path, name: place)
    assert int(words(raw(k0, k1), "t", (), offset=index)) == word == int(twin.mix(index, k0, k1, place))


def test_words_are_known_for_a_seed():
    """The bits that a fixed key gives: a change here is a breaking change and needs a line in CHANGELOG, "Streams"."""
    assert words(jax.random.key(0), "gaussian", (4,)).tolist() == SEED_0_GAUSSIAN


@pytest.mark.slow
def test_offset_halves_concatenate_to_the_whole(key):
    whole = words(key, "t", (100,))
    np.testing.assert_array_equal(jnp.concatenate([words(key, "t", (40,)), words(key, "t", (60,), offset=40)]), whole)
    traced = jax.jit(lambda offset: words(key, "t", (60,), offset=offset))(jnp.uint32(40))
    np.testing.assert_array_equal(traced, whole[40:])
    rows = words(key, "t", (10, 10))
    np.testing.assert_array_equal(words(key, "t", (4, 10), offset=60), rows[6:])


@pytest.mark.parametrize("offset", [2**32 - 3, 2**32, 2**40 + 12345, 2**52 + 1])
def test_the_tail_of_an_array_beyond_32_bit_indices(offset):
    key = raw(3, 5)
    expected = twin.mix(np.uint64(offset) + np.arange(12, dtype=np.uint64), 3, 5, twin.place((), "t"))
    np.testing.assert_array_equal(words(key, "t", (3, 4), offset=offset).ravel(), expected)


def test_a_shape_beyond_32_bit_indices_needs_no_allocation():
    def tail(key):
        return words(key, "t", (2**20, 2**16))[-1, -5:]

    compiled = jax.jit(tail).lower(raw(3, 5)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 2**20
    index = np.uint64(2**36) - np.arange(5, 0, -1, dtype=np.uint64)
    np.testing.assert_array_equal(compiled(raw(3, 5)), twin.mix(index, 3, 5, twin.place((), "t")))


def test_tags_paths_and_keys_separate_streams(key):
    base = words(key, "a", (256,))
    others = [
        words(key, "b", (256,)),
        words(stage(key, 0), "a", (256,)),
        words(stage(stage(key, 0), 1), "a", (256,)),
        words(stage(stage(key, 1), 0), "a", (256,)),
        words(stage(key, "0"), "a", (256,)),
        words(jax.random.key(2027), "a", (256,)),
    ]
    drawn = [np.asarray(w).tobytes() for w in (base, *others)]
    assert len(set(drawn)) == len(drawn)


def test_vmap_over_keys_equals_a_loop(key):
    keys = jax.random.split(key, 5)
    mapped = jax.vmap(lambda k: words(k, "t", (3, 4)))(keys)
    np.testing.assert_array_equal(mapped, jnp.stack([words(k, "t", (3, 4)) for k in keys]))


@pytest.mark.slow
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg", "philox4x32", "threefry4x32", "philox2x32"])
def test_every_word_of_every_key_implementation_counts(impl):
    try:
        data = jax.random.key_data(jax.random.key(1, impl=impl))
    except ValueError:
        pytest.skip(f"this jax has no {impl}")
    seen = {np.asarray(words(jax.random.wrap_key_data(data, impl=impl), "t", (8,))).tobytes()}
    for n in range(data.size):
        other = jax.random.wrap_key_data(data.at[n].add(jnp.uint32(1)), impl=impl)
        seen.add(np.asarray(words(other, "t", (8,))).tobytes())
    assert len(seen) == data.size + 1


def test_fold_gives_each_id_its_own_stream(key):
    ids = jnp.array([0, 1, 5, 2**31 - 1])
    streams = fold(key, ids)
    drawn = jax.vmap(lambda stream: words(stream, "t", (16,)))(streams)
    assert len({np.asarray(row).tobytes() for row in drawn}) == 4
    alone = words(Stream(fold(key, ids[2:3]).key[0]), "t", (16,))
    np.testing.assert_array_equal(drawn[2], alone)


def test_all_64_bits_of_an_id_count_and_its_dtype_does_not(key):
    def drawn(ids):
        return fold(key, ids).key.tolist()

    small = drawn(jnp.array([5, 2**31 - 1], jnp.int32))
    assert drawn(jnp.array([5, 2**31 - 1], jnp.uint32)) == small
    assert drawn(jnp.array([5], jnp.uint8)) == small[:1]
    with jax.enable_x64(True):
        assert drawn(jnp.array([5, 2**31 - 1], jnp.int64)) == small
        wide = drawn(jnp.array([5, 2**32 + 5, 2**40 + 5, 2**63 - 1, -1], jnp.int64))
        assert drawn(jnp.array([-1], jnp.int32)) == wide[-1:]
    assert wide[0] == small[0]
    assert len({tuple(pair) for pair in wide}) == 5


def test_ids_that_jax_would_cut_are_refused(key):
    noise, x = nj.bind(nj.gaussian, std=1.0), jnp.zeros((2, 3))
    for ids in (np.array([1, 2**40]), [1, 2**40], np.array([-1, 2**31])):
        with pytest.raises(ValueError, match="ids must fit into 32 bits unless jax_enable_x64 is set"):
            nj.per_example(noise, ids)
    with pytest.raises(TypeError, match="ids must be an array of integers"):
        nj.per_example(noise, np.array([0.5, 1.0]))
    drawn = nj.per_example(noise, np.array([1, 2**31 + 5]))(key, x)
    np.testing.assert_array_equal(drawn, nj.per_example(noise, jnp.array([1, 2**31 + 5], jnp.uint32))(key, x))


def test_a_traced_offset_of_64_bits_loses_none(key):
    with jax.enable_x64(True):
        drawn = jax.jit(lambda n: words(key, "t", (3,), offset=n))(jnp.int64(2**40 + 12345))
    np.testing.assert_array_equal(drawn, words(key, "t", (3,), offset=2**40 + 12345))


def test_foreign_functions_get_a_real_key_of_their_place(key):
    assert jax_key(key) is key
    first, second = jax_key(stage(key, 0)), jax_key(stage(key, 1))
    assert jax.dtypes.issubdtype(first.dtype, jax.dtypes.prng_key)
    assert not bool((jax.random.key_data(first) == jax.random.key_data(second)).all())


def test_multiply_wide_is_the_64_bit_product():
    a, b = np.random.default_rng(0).integers(0, 2**32, (2, 1000), dtype=np.uint64)
    a[:3], b[:3] = (0, MAX, MAX), (MAX, MAX, 1)
    low, high = multiply_wide(jnp.asarray(a, jnp.uint32), jnp.asarray(b, jnp.uint32))
    np.testing.assert_array_equal(np.asarray(low, np.uint64) + (np.asarray(high, np.uint64) << np.uint64(32)), a * b)


MAX = 2**32 - 1


@pytest.mark.parametrize("axis", ["index", "key", "tag", "fold"])
def test_words_look_uniform_along_every_axis(axis, key):
    """A quick look (the battery is benchmarks/quality): bytes by chi-square and duplicates, 1e-4 each."""
    n = 2**16
    if axis == "index":
        drawn = words(key, "t", (n,))
    elif axis == "key":
        drawn = jax.vmap(lambda k: words(raw(k, 7), "t", ()))(jnp.arange(n, dtype=jnp.uint32))
    elif axis == "tag":
        drawn = np.array([twin.mix(3, 1, 2, twin.place((), f"noise{t}")) for t in range(n)])
    else:
        drawn = jax.vmap(lambda s: words(s, "t", ()))(fold(key, jnp.arange(n)))
    drawn = np.asarray(drawn)
    for shift in (0, 8, 16, 24):
        counts = np.bincount((drawn >> shift) & 255, minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-4
    duplicates = n - len(np.unique(drawn))
    assert stats.poisson.cdf(duplicates, n * n / 2**33) > 1e-4
    assert stats.poisson.sf(duplicates - 1, n * n / 2**33) > 1e-4


def test_every_input_bit_flips_every_output_bit_half_of_the_time():
    """Avalanche: 4,096 random inputs, 96 input bits, 32 output bits; |frequency - 1/2| below 6 standard errors."""
    n = 4096
    index, k0, k1 = np.random.default_rng(1).integers(0, 2**32, (3, n), dtype=np.uint32)
    place = twin.place((), "gaussian")
    mixed = jax.jit(lambda i, a, b: hash_words(i, a, b, place))
    base = mixed(index, k0, k1)
    for which in range(3):
        for bit in range(32):
            inputs = [index, k0, k1]
            inputs[which] = inputs[which] ^ np.uint32(1 << bit)
            flips = np.asarray(base ^ mixed(*inputs))
            frequency = ((flips[:, None] >> np.arange(32)) & 1).mean(0)
            assert np.abs(frequency - 0.5).max() < 6 * 0.5 / np.sqrt(n), (which, bit)
