"""The mathematics against independent derivations: autograd, loops in numpy, hooks, finite differences."""

import datetime
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional

from dgsnet.surgery import linear_head_gradient, negative, operate, positive, suppress

ORDERS = ["align-then-project", "project-then-align"]
EPS = 1e-6


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def literal_suppress(g, harmful, eps=EPS):
    """The formula of the method, element by element."""
    g, harmful = np.asarray(g, np.float64), np.asarray(harmful, np.float64)
    out = np.empty_like(g)
    for b in range(g.shape[0]):
        plus = [max(value, 0.0) for value in harmful[b]]
        norm = sum(value * value for value in plus) ** 0.5
        h = [value / (norm + eps) for value in plus]
        along = sum(x * y for x, y in zip(g[b], h, strict=True))
        out[b] = [x - along * y for x, y in zip(g[b], h, strict=True)]
    return out


def literal_operate(g, text, image, alignment, order):
    pull = np.zeros(g.shape) if image is None else np.asarray(alignment) * np.minimum(np.asarray(image), 0)
    g = np.asarray(g)
    if order == "align-then-project":
        return g + pull if text is None else literal_suppress(g + pull, text)
    return (g if text is None else literal_suppress(g, text)) + pull


def edited(g, *arguments, **keywords):
    """The gradient that reaches features when g comes back through operate."""
    features = torch.zeros(g.shape, dtype=g.dtype, requires_grad=True)
    operate(features, *arguments, **keywords).backward(g)
    return features.grad


# positive and negative


def test_positive_and_negative_split_a_gradient():
    g = torch.tensor([[-1.0, 0.0, 2.0], [3.0, -4.0, 0.5]])
    assert positive(g).tolist() == [[0, 0, 2], [3, 0, 0.5]]
    assert negative(g).tolist() == [[-1, 0, 0], [0, -4, 0]]
    assert torch.equal(positive(g) + negative(g), g)


# linear_head_gradient


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("labels", [[0, 1, 1, 0, 1], [0] * 5, [1] * 5, [1]])
def test_closed_form_is_what_autograd_finds(dtype, tolerance, labels):
    features = random(len(labels), 7, dtype=dtype).requires_grad_()
    weight, bias = random(7, seed=1, dtype=dtype), random(1, seed=2, dtype=dtype)
    y = torch.tensor(labels)
    logits = features @ weight + bias
    (truth,) = torch.autograd.grad(functional.binary_cross_entropy_with_logits(logits, y.to(dtype)), features)
    closed = linear_head_gradient(logits, y, weight)
    assert closed.dtype == dtype
    assert not closed.requires_grad
    torch.testing.assert_close(closed, truth, atol=tolerance, rtol=0)


def test_closed_form_is_what_finite_differences_find():
    features, weight, y = random(3, 4), random(4, seed=1), torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    closed = linear_head_gradient(features @ weight, y, weight)
    for b in range(3):
        for d in range(4):
            step = torch.zeros_like(features)
            step[b, d] = 1e-5
            up, down = (functional.binary_cross_entropy_with_logits((features + s) @ weight, y) for s in (step, -step))
            assert abs(((up - down) / 2e-5 - closed[b, d]).item()) < 1e-9


def test_closed_form_survives_huge_logits():
    closed = linear_head_gradient(torch.tensor([1e4, -1e4, 1e4]), torch.tensor([1, 1, 0]), torch.tensor([3.0, -6.0]))
    assert closed.tolist() == [[0, 0], [-1, 2], [1, -2]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool, torch.int64, torch.uint8])
def test_labels_of_any_type(dtype):
    logits, weight, y = random(4), random(3, seed=1), torch.tensor([0, 1, 1, 0])
    assert torch.equal(linear_head_gradient(logits, y.to(dtype), weight), linear_head_gradient(logits, y, weight))


@pytest.mark.parametrize("shapes", [((4, 1), (4,), (3,)), ((4,), (4, 1), (3,)), ((4,), (5,), (3,)), ((4,), (4,), (1, 3))])
def test_linear_head_gradient_refuses_other_shapes(shapes):
    with pytest.raises(ValueError, match="expected logits"):
        linear_head_gradient(*(torch.zeros(shape) for shape in shapes))


# suppress


@pytest.mark.parametrize(("batch", "width"), [(1, 1), (1, 16), (5, 3), (8, 64)])
@pytest.mark.parametrize("eps", [1e-6, 0.3])
def test_suppress_is_the_literal_formula(batch, width, eps):
    g, harmful = random(batch, width), random(batch, width, seed=1)
    np.testing.assert_allclose(suppress(g, harmful, eps), literal_suppress(g, harmful, eps), atol=1e-12)


def test_suppress_leaves_rows_without_harm_alone():
    g = random(3, 5)
    harmful = -random(3, 5, seed=1).abs()
    harmful[1, 2] = 0
    assert torch.equal(suppress(g, harmful), g)
    assert torch.equal(suppress(g, torch.zeros_like(g)), g)
    assert torch.equal(suppress(torch.zeros_like(g), random(3, 5)), torch.zeros_like(g))


def test_suppress_removes_the_harmful_direction_whole():
    harmful = random(4, 6, seed=3)
    assert suppress(7 * positive(harmful), harmful).abs().max() < 1e-4


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02), (torch.float16, 2e-3)])
def test_suppress_in_lower_precision(dtype, tolerance):
    g, harmful = random(4, 512).to(dtype), random(4, 512, seed=1).to(dtype)
    out = suppress(g, harmful)
    assert out.dtype == dtype
    np.testing.assert_allclose(out.double(), literal_suppress(g.double(), harmful.double()), atol=tolerance)
    # Computed in fp32 and rounded once: no worse than the rounding of the exact result.
    if dtype != torch.float32:
        assert torch.equal(out, suppress(g.float(), harmful.float()).to(dtype))


def test_suppress_of_tiny_half_precision_gradients_does_not_underflow():
    harmful = torch.full((1, 4), 1e-4, dtype=torch.float16)  # its square is zero in fp16
    assert suppress(torch.ones(1, 4, dtype=torch.float16), harmful).abs().max() < 0.02


@pytest.mark.parametrize(("g", "harmful"), [((4,), (4,)), ((2, 3), (3,)), ((2, 3), (1, 3)), ((2, 3), (2, 4)), ((2, 3, 1), (2, 3, 1))])
def test_suppress_refuses_other_shapes(g, harmful):
    with pytest.raises(ValueError, match="one shape"):
        suppress(torch.zeros(g), torch.zeros(harmful))


rows = st.integers(1, 4).flatmap(
    lambda batch: st.integers(1, 8).flatmap(
        lambda width: st.tuples(
            *(
                st.lists(
                    st.floats(-100, 100, allow_subnormal=False).map(lambda x: x if abs(x) > 1e-3 else 0.0),
                    min_size=batch * width,
                    max_size=batch * width,
                ).map(lambda values: torch.tensor(values, dtype=torch.float64).reshape(batch, width))
                for _ in range(2)
            )
        )
    )
)


@given(rows)
@settings(max_examples=150, deadline=None)
def test_suppress_is_a_projection_up_to_eps(pair):
    g, harmful = pair
    out = suppress(g, harmful)
    plus = positive(harmful)
    norm = plus.norm(dim=1)
    unit = plus / norm.clamp(min=1e-300)[:, None]
    along = (g * unit).sum(1)
    # With |h| = n / (n + eps), the part that stays along h is 1 - |h|^2 <= 2 eps / n of what was there.
    left = (out * unit).sum(1)
    allowed = torch.where(norm > 0, 2 * EPS / norm.clamp(min=1e-300), torch.zeros(())) * along.abs() + 1e-9
    assert ((left.abs() <= allowed) | (norm == 0)).all(), "not orthogonal"
    assert (out.norm(dim=1) <= g.norm(dim=1) * (1 + 1e-12)).all(), "norm grew"
    assert ((g * out).sum(1) >= -1e-9 * g.norm(dim=1) ** 2).all(), "turned against the gradient"
    assert ((suppress(out, harmful) - out).norm(dim=1) <= allowed + 1e-9).all(), "not idempotent"


@given(rows, st.floats(0.1, 1000))
@settings(max_examples=50, deadline=None)
def test_suppress_is_linear_and_blind_to_the_length_of_harm(pair, factor):
    g, harmful = pair
    torch.testing.assert_close(suppress(factor * g, harmful), factor * suppress(g, harmful), atol=1e-8, rtol=1e-9)
    torch.testing.assert_close(suppress(g, factor * harmful, eps=0.0), suppress(g, harmful, eps=0.0), atol=1e-9, rtol=1e-9, equal_nan=True)


# operate


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("with_text", [True, False])
@pytest.mark.parametrize("with_image", [True, False])
@pytest.mark.parametrize("alignment", ["number", "tensor"])
@pytest.mark.parametrize("batch", [1, 6])
def test_operate_is_the_literal_formula(order, with_text, with_image, alignment, batch):
    g = random(batch, 9)
    text = random(batch, 9, seed=1) if with_text else None
    image = random(batch, 9, seed=2) if with_image else None
    weight = 0.7 if alignment == "number" else random(batch, 1, seed=3).abs()
    np.testing.assert_allclose(edited(g, text, image, weight, order), literal_operate(g, text, image, weight, order), atol=1e-12)


def test_the_default_order_is_that_of_the_released_code():
    g, text, image = random(3, 5), random(3, 5, seed=1), random(3, 5, seed=2)
    assert torch.equal(edited(g, text, image, 0.5), edited(g, text, image, 0.5, "align-then-project"))
    assert not torch.allclose(edited(g, text, image, 0.5), edited(g, text, image, 0.5, "project-then-align"))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("labels", [[0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1]])
def test_operate_equals_a_hook_and_an_alignment_loss(order, labels):
    """The construction of the released code: L_align = mean_b <f_b, g-_b> in the loss, a hook on f that projects."""
    B, D, weight = len(labels), 6, 0.2
    y = torch.tensor(labels, dtype=torch.float64)
    x, w, wt, wT = random(B, 4), random(D, seed=1), random(D, seed=2), random(D, seed=3)
    t, fT = random(B, D, seed=4), random(B, D, seed=5)

    def autograd_gradient(features, head):
        leaf = features.clone().requires_grad_()
        return torch.autograd.grad(functional.binary_cross_entropy_with_logits(leaf @ head, y), leaf)[0]

    g_text, g_image = autograd_gradient(t, wt), autograd_gradient(fT, wT)

    tower = random(4, D, seed=6).requires_grad_()
    f = x @ tower
    aligned = weight * (f * g_image.clamp(max=0)).sum(1).mean()
    plus = g_text.clamp(min=0)
    h = plus / (plus.norm(dim=1, keepdim=True) + EPS)

    def project(g):
        return g - (g * h).sum(1, keepdim=True) * h

    if order == "align-then-project":
        f.register_hook(project)
        (functional.binary_cross_entropy_with_logits(f @ w, y) + aligned).backward()
    else:
        g = f.clone()
        g.register_hook(project)
        (functional.binary_cross_entropy_with_logits(g @ w, y) + aligned).backward()
    truth, tower.grad = tower.grad, None

    f = operate(x @ tower, linear_head_gradient(t @ wt, y, wt), linear_head_gradient(fT @ wT, y, wT), weight / B, order)
    functional.binary_cross_entropy_with_logits(f @ w, y).backward()
    torch.testing.assert_close(tower.grad, truth, atol=1e-12, rtol=0)


def test_operate_leaves_no_trace():
    leaf = random(3, 4).requires_grad_()
    features = leaf * 2
    before, node = features.detach().clone(), features.grad_fn
    text, image = random(3, 4, seed=1), random(3, 4, seed=2)
    kept = text.clone(), image.clone()
    out = operate(features, text, image, 0.1)
    assert torch.equal(out, before)
    out.sum().backward()
    assert torch.equal(features, before)
    assert features.grad_fn is node
    assert features._backward_hooks is None
    assert out._backward_hooks is None
    assert torch.equal(text, kept[0])
    assert torch.equal(image, kept[1])
    leaf.grad = None
    (leaf * 2).sum().backward()  # the next graph knows nothing of it
    assert torch.equal(leaf.grad, torch.full((3, 4), 2.0, dtype=torch.float64))


def test_features_used_elsewhere_keep_their_own_gradient():
    features = random(3, 4).requires_grad_()
    text = random(3, 4, seed=1)
    (operate(features, text, None, 0.0).sum() + (features * 3).sum()).backward()
    ones = torch.ones(3, 4, dtype=torch.float64)
    np.testing.assert_allclose(features.grad, literal_suppress(ones, text) + 3, atol=1e-12)


def test_twice_in_one_graph():
    g, text, image = random(3, 4), random(3, 4, seed=1), random(3, 4, seed=2)
    features = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    first, second = operate(features, text, None, 0.0), operate(features, -text, image, 0.3, "project-then-align")
    ((first * g).sum() + (second * 2 * g).sum()).backward()
    truth = literal_operate(g, text, None, 0, ORDERS[0]) + literal_operate(2 * g, -text, image, 0.3, ORDERS[1])
    np.testing.assert_allclose(features.grad, truth, atol=1e-12)


def test_nested():
    g, text = random(3, 4), random(3, 4, seed=1)
    features = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    operate(operate(features, text, None, 0.0), -text, None, 0.0).backward(g)
    np.testing.assert_allclose(features.grad, literal_suppress(literal_suppress(g, -text), text), atol=1e-12)


def test_no_gradient_reaches_the_givers_of_gradients():
    features, text, image = (random(2, 3, seed=s).requires_grad_() for s in range(3))
    alignment = torch.full((2, 1), 0.5, dtype=torch.float64, requires_grad=True)
    operate(features, text, image, alignment).sum().backward()
    assert text.grad is None
    assert image.grad is None
    assert alignment.grad is None


@pytest.mark.parametrize("order", ORDERS)
def test_accumulation_of_two_halves_equals_the_whole(order):
    B, D = 8, 5
    x, w, wt, wT = random(B, 4), random(D, seed=1), random(D, seed=2), random(D, seed=3)
    t, y = random(B, D, seed=4), torch.tensor([0, 1, 1, 0, 1, 1, 0, 0])
    tower = random(4, D, seed=5).requires_grad_()

    def step(part, scale):
        text = linear_head_gradient(t[part] @ wt, y[part], wt)
        image = linear_head_gradient(t[part] @ wT, y[part], wT)
        # The teacher's gradient is a mean over its own half: scaled by `scale`, like the loss.
        f = operate(x[part] @ tower, text, image, 0.4 * scale, order)
        (scale * functional.binary_cross_entropy_with_logits(f @ w, y[part].double())).backward()

    step(slice(None), 1.0)
    whole, tower.grad = tower.grad, None
    step(slice(0, 4), 0.5)
    step(slice(4, 8), 0.5)
    # eps is not scaled with the text gradient of the halves: equal up to eps / |g+_text|, and no further.
    torch.testing.assert_close(tower.grad, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtypes(order, dtype):
    g, text, image = (random(4, 32, seed=s).to(dtype) for s in range(3))
    got = edited(g, text, image, 0.5, order)
    assert got.dtype == dtype
    truth = literal_operate(g.double().numpy(), text.double(), image.double(), 0.5, order)
    np.testing.assert_allclose(got.double(), truth, atol={torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype])


def test_gradients_of_another_dtype_than_the_features():
    g, text, image = random(4, 8).bfloat16(), random(4, 8, seed=1, dtype=torch.float32), random(4, 8, seed=2, dtype=torch.float32)
    got = edited(g, text, image, torch.full((4, 1), 0.5), "project-then-align")
    assert got.dtype == torch.bfloat16
    np.testing.assert_allclose(got.double(), literal_operate(g.double().numpy(), text, image, 0.5, ORDERS[1]), atol=0.05)


@pytest.mark.parametrize("order", ORDERS)
def test_autocast(order):
    x, text, image = random(4, 6, dtype=torch.float32), random(4, 8, seed=1, dtype=torch.float32), random(4, 8, seed=2, dtype=torch.float32)
    tower, head = nn.Linear(6, 8), nn.Linear(8, 1)
    grads = []
    for enabled in (False, True):
        tower.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            f = operate(tower(x), text, image, 0.1, order)
            assert f.dtype == (torch.bfloat16 if enabled else torch.float32)
            closed = linear_head_gradient(head(f).squeeze(1), torch.ones(4), head.weight[0])
            assert closed.shape == (4, 8)
            functional.binary_cross_entropy_with_logits(head(f).squeeze(1).float(), torch.ones(4)).backward()
        grads.append(tower.weight.grad.clone())
    assert grads[1].dtype == torch.float32
    torch.testing.assert_close(grads[1], grads[0], atol=0.03, rtol=0.03)


@pytest.mark.parametrize(
    "backend",
    ["aot_eager", pytest.param("inductor", marks=pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a compiler"))],
)
@pytest.mark.parametrize("order", ORDERS)
def test_compiled_equals_eager(backend, order):
    x, y = random(4, 6), torch.tensor([0, 1, 1, 0])
    t, fT, w, wt, wT = random(4, 8, seed=1), random(4, 8, seed=2), random(8, seed=3), random(8, seed=4), random(8, seed=5)

    def loss(tower):
        text, image = linear_head_gradient(t @ wt, y, wt), linear_head_gradient(fT @ wT, y, wT)
        return functional.binary_cross_entropy_with_logits(operate(x @ tower, text, image, 0.5, order) @ w, y.double())

    grads = []
    torch._dynamo.reset()
    for function in (loss, torch.compile(loss, backend=backend, fullgraph=True)):
        tower = random(6, 8, seed=6).requires_grad_()
        function(tower).backward()
        grads.append(tower.grad)
    torch.testing.assert_close(grads[1], grads[0], atol=1e-12, rtol=0)


def test_operate_under_functional_transforms():
    text = random(3, 4, seed=1)
    got = torch.func.grad(lambda f: (operate(f, text, None, 0.0) * 2).sum())(random(3, 4))
    np.testing.assert_allclose(got, literal_suppress(np.full((3, 4), 2.0), text), atol=1e-12)


@pytest.mark.parametrize(
    ("text", "image", "order", "word"),
    [((3, 5), None, ORDERS[0], "text_gradient"), (None, (1, 4), ORDERS[0], "image_gradient"), ((3, 4), (3, 4), "sideways", "order")],
)
def test_operate_refuses(text, image, order, word):
    text, image = (None if shape is None else torch.zeros(shape) for shape in (text, image))
    with pytest.raises(ValueError, match=word):
        operate(torch.zeros(3, 4), text, image, 0.1, order)


# Several processes


def _process(rank, world, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world, timeout=datetime.timedelta(seconds=60)
    )
    x, t, y, w, wt, start = _problem()
    part = slice(rank * 4, rank * 4 + 4)
    tower = nn.Linear(6, 8, bias=False).double()
    tower.weight.data = start
    parallel = nn.parallel.DistributedDataParallel(tower)
    for _ in range(2):  # a second step: nothing of the first is left
        tower.zero_grad()
        f = operate(parallel(x[part]), linear_head_gradient(t[part] @ wt, y[part], wt), None, 0.0)
        functional.binary_cross_entropy_with_logits(f @ w, y[part]).backward()
    torch.save(tower.weight.grad, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def _problem():
    y = torch.tensor([0, 1, 1, 0, 1, 1, 1, 0], dtype=torch.float64)
    return random(8, 6), random(8, 8, seed=1), y, random(8, seed=2), 100 * random(8, seed=3), random(8, 6, seed=4)


def test_two_processes_average_to_the_whole_batch(tmp_path):
    spawn(_process, (2, str(tmp_path)), nprocs=2)
    x, t, y, w, wt, tower = _problem()
    tower.requires_grad_()
    f = operate(x @ tower.T, linear_head_gradient(t @ wt, y, wt), None, 0.0)
    functional.binary_cross_entropy_with_logits(f @ w, y).backward()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert torch.equal(first, second)
    torch.testing.assert_close(first, tower.grad, atol=1e-6, rtol=0)
