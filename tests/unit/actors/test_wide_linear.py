import pytest
import torch
import torch.nn.functional as F

from rltf.actors.wide_linear import MAX_ROWS, MIN_WEIGHTS, linear, patch_linear


@pytest.mark.parametrize("shape", [(1,), (2,), (7, 1), (2, 3, 4), (MAX_ROWS + 1,)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("width", [8, MIN_WEIGHTS // 256])
def test_it_computes_what_torch_does(shape: tuple[int, ...], bias: bool, width: int) -> None:
    torch.manual_seed(0)
    rows, weight = torch.randn(*shape, 256), torch.randn(width, 256)
    offset = torch.randn(width) if bias else None
    with torch.no_grad():
        found = linear(rows, weight, offset)
    assert found.is_contiguous()
    torch.testing.assert_close(found, F.linear(rows, weight, offset), atol=1e-4, rtol=1e-5)


def test_a_patched_layer_takes_new_weights_and_is_trained_as_before() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(256, MIN_WEIGHTS // 256), torch.nn.ReLU())
    patch_linear(model)
    rows = torch.randn(5, 256)
    with torch.no_grad():
        model[0].weight.normal_()
        torch.testing.assert_close(
            model(rows), F.linear(rows, model[0].weight, model[0].bias).relu(), atol=1e-4, rtol=1e-5
        )
    model(rows).sum().backward()
    expected = (F.linear(rows, model[0].weight, model[0].bias) > 0).float().t() @ rows
    torch.testing.assert_close(model[0].weight.grad, expected, atol=1e-3, rtol=1e-4)
