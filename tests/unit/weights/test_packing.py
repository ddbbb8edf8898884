import dataclasses

import numpy as np
import pytest
import torch

from rltf.policy.policy import build_policy
from rltf.weights.manifest import CHECKSUM_CHUNK_BYTES, ChecksumError, ManifestMismatch
from rltf.weights.packing import named_weights, pack, pack_tensors
from rltf.weights.unpacking import load_into, unpack
from tests.support.policies import FAMILIES, policy_of, spec_of


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_weights_arrive_exactly_and_tied_ones_travel_once(family: str, dtype: torch.dtype | None) -> None:
    policy = policy_of(family)
    manifest, buckets = pack(policy.model, 7, dtype, bucket_bytes=20_000)
    assert manifest.version == 7 and len(buckets) > 1
    assert sum(int(np.prod(shape)) for shape in manifest.shapes) == policy.parameters
    target = build_policy(spec_of(family), weights=False)
    load_into(target.model, manifest, buckets)
    for name, value in policy.model.state_dict().items():
        expected = value.to(dtype).float() if dtype else value
        assert torch.equal(target.model.state_dict()[name], expected), name
    embedding = target.model.get_input_embeddings().weight
    assert target.model.get_output_embeddings().weight is embedding
    ids = torch.tensor([[5, 6, 7]])
    extra = {"decoder_input_ids": ids} if policy.is_encoder_decoder else {}
    if dtype is None:
        assert torch.equal(policy.model(input_ids=ids, **extra).logits, target.model(input_ids=ids, **extra).logits)


def test_every_number_format_and_shape_makes_the_round_trip() -> None:
    tensors = {
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "half": torch.randn(5, 3).half(),
        "brain": torch.randn(7).bfloat16(),
        "double": torch.randn(2, 2, 2, dtype=torch.float64),
        "long": torch.tensor([1, -(2**40)]),
        "flags": torch.tensor([True, False, True]),
        "large": torch.randn(40, 40),
        "turned": torch.randn(4, 6).T,
    }
    manifest, buckets = pack_tensors(tensors.items(), 1, bucket_bytes=256)
    manifest.verify(buckets)
    assert pack_tensors(list(tensors.items()), 1, bucket_bytes=256)[0] == manifest
    for name, tensor in unpack(manifest, buckets):
        assert torch.equal(tensor, tensors[name]) and tensor.dtype == tensors[name].dtype, name
    assert sum(bucket.nbytes for bucket in buckets) == manifest.nbytes
    assert dict(zip(manifest.names, manifest.dtypes, strict=True))["brain"] == "bfloat16"
    cast, cast_buckets = pack_tensors(tensors.items(), 1, torch.bfloat16)
    assert [dtype for dtype in cast.dtypes if dtype not in ("int64", "bool")] == ["bfloat16"] * 7 and len(
        cast_buckets
    ) == 1


def test_a_corrupt_bucket_is_refused_and_no_parameter_is_touched() -> None:
    policy, target = policy_of("llama"), policy_of("llama", seed=2)
    manifest, buckets = pack(policy.model, 1, bucket_bytes=20_000)
    before = {name: value.clone() for name, value in named_weights(target.model)}
    flipped = [bucket.copy() for bucket in buckets]
    flipped[-1][3] ^= 1
    for broken in (flipped, buckets[:-1], [buckets[0][:-1], *buckets[1:]], list(reversed(buckets))):
        with pytest.raises(ChecksumError, match="version 1"):
            load_into(target.model, manifest, broken)
    renamed = dataclasses.replace(manifest, names=("other", *manifest.names[1:]))
    with pytest.raises(ManifestMismatch, match="names differ"):
        load_into(target.model, renamed, buckets)
    with pytest.raises(ManifestMismatch):
        load_into(policy_of("gpt2").model, manifest, buckets)
    assert all(torch.equal(before[name], value) for name, value in named_weights(target.model))


def test_large_versions_are_summed_in_pieces_and_arrive_exactly() -> None:
    model = torch.nn.ParameterDict(
        {name: torch.randn(size) for name, size in (("a", 2_100_000), ("b", 7), ("c", 1_500_000))}
    )
    manifest, buckets = pack(model, 3, bucket_bytes=9_000_000)
    assert (
        [len(sums) for sums in manifest.checksums]
        == [-(-size // CHECKSUM_CHUNK_BYTES) for size in manifest.bucket_bytes]
        == [3, 2]
    )
    together, others = pack_tensors(list(named_weights(model)), 3, bucket_bytes=9_000_000)
    assert together == manifest and all(
        np.array_equal(ours, theirs) for ours, theirs in zip(buckets, others, strict=True)
    )
    half, _ = pack_tensors(list(named_weights(model)), 3, torch.bfloat16)
    assert half == pack(model, 3, torch.bfloat16)[0] and len(half.checksums[0]) == 2
    target = torch.nn.ParameterDict({name: torch.zeros_like(value) for name, value in model.items()})
    for place in (0, CHECKSUM_CHUNK_BYTES, 2 * CHECKSUM_CHUNK_BYTES, buckets[0].nbytes - 1):
        buckets[0][place] ^= 1
        with pytest.raises(ChecksumError, match="bucket 0 fails"):
            load_into(target, manifest, buckets)
        buckets[0][place] ^= 1
    assert not any(bool(value.any()) for value in target.values())
    load_into(target, manifest, buckets)
    assert all(torch.equal(value, model[name]) for name, value in target.items())


def test_buckets_may_be_read_only_and_loading_changes_the_parameters_in_place() -> None:
    policy, target = policy_of("llama"), policy_of("llama", seed=2)
    manifest, buckets = pack(policy.model, 1)
    for bucket in buckets:
        bucket.flags.writeable = False
    addresses = [value.data_ptr() for _, value in named_weights(target.model)]
    load_into(target.model, manifest, buckets)
    assert addresses == [value.data_ptr() for _, value in named_weights(target.model)]
    assert torch.equal(target.model.lm_head.weight, policy.model.lm_head.weight)


def test_tensors_are_taken_one_at_a_time_so_that_they_may_be_gathered_for_a_moment() -> None:
    alive: list[str] = []

    def gathered():  # type: ignore[no-untyped-def]
        for index in range(5):
            alive.append(f"t{index}")
            yield f"t{index}", torch.full((3,), float(index))
            alive.pop()
            assert not alive

    manifest, buckets = pack_tensors(gathered(), 2)
    assert [tensor[0].item() for _, tensor in unpack(manifest, buckets)] == [0, 1, 2, 3, 4]
