"""What bench.py compares: the same model, epoch and evaluation, in every way people run it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from grokking.config import training_pairs
from grokking.kernels.backend import Backend
from grokking.model.tables import Tables
from grokking.model.transformer import Transformer, parameters_for_surfaces, parameters_of
from grokking.task import make_task as named_task
from grokking.training.split import split_generator, split_questions, weights_generator

D_MODEL, NUM_HEADS, D_MLP = 128, 4, 512
COMPILED, TRANSFORMER_LENS = "last position, compiled", "TransformerLens"


class Peer(NamedTuple):
    """One contestant; each call does the whole job and returns what parity is checked on."""

    name: str
    load: Callable[[dict[str, Tensor]], None]  # weights that from now on no epoch changes
    epoch: Callable[[], float]  # forward, backward, AdamW on the training pairs -> mean loss
    evaluate: Callable[[], tuple[float, float]]  # mean loss and accuracy of all p * p pairs
    surfaces: Callable[[], Tensor] | None = None  # all activation surfaces [p, p, d_mlp]
    tables: Callable[[], float] | None = None  # evaluate again, of tables that are already folded


class Task(NamedTuple):
    """The experiment at one modulus, with the initial weights that every peer starts from."""

    modulus: int
    a: Tensor
    b: Tensor
    targets: Tensor
    train: Tensor  # pair numbers, 30 %

    def model(self) -> Transformer:
        return Transformer(self.modulus, D_MODEL, NUM_HEADS, D_MLP, weights_generator(1))

    def tokens(self) -> Tensor:
        return torch.stack([self.a, self.b, torch.full_like(self.a, self.modulus)], 1)


def make_task(modulus: int) -> Task:
    addition, pairs = named_task("add", modulus), torch.arange(modulus**2)
    count = training_pairs(len(pairs), 0.3)
    train = split_questions(addition, count, split_generator(1)).train
    answers = torch.from_numpy(addition.targets)
    return Task(modulus, pairs // modulus, pairs % modulus, answers, train)


def adamw(parameters: Any) -> torch.optim.Optimizer:
    """The run's optimiser; fused for everybody, which is the fastest that torch has."""
    settings = {"lr": 1e-3, "betas": (0.9, 0.98), "weight_decay": 1.0}
    return torch.optim.AdamW(parameters, fused=True, **settings)


def score(logits: Tensor, goal: Tensor) -> tuple[float, float]:
    correct = (logits.argmax(1) == goal).float().mean().item()
    return cross_entropy(logits, goal).item(), correct


def loader(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Callable[..., None]:
    """What puts trained weights into a model, and stops its optimiser at them."""

    @torch.no_grad()
    def load(weights: dict[str, Tensor]) -> None:
        for name, parameter in model.named_parameters():
            field = name.rsplit(".", 1)[-1]  # TransformerLens's are blocks.0.attn.W_Q ...
            if field in weights:
                parameter.copy_(weights[field])
        for group in optimizer.param_groups:
            group["lr"] = 0.0  # an epoch computes the same, and ends where it began

    return load


def torch_peer(
    name: str,
    task: Task,
    model: torch.nn.Module,
    train: Callable[[], Tensor],
    every: Callable[[], Tensor],
    surfaces: Callable[[], Tensor] | None,
) -> Peer:
    """A peer whose `train()` and `every()` are the logits of the training and of all pairs."""
    optimizer = adamw(p for p in model.parameters() if p.requires_grad)
    goal = task.targets[task.train]

    def epoch() -> float:
        loss = cross_entropy(train(), goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate() -> tuple[float, float]:
        return score(every(), task.targets)

    seen = torch.no_grad()(surfaces) if surfaces else None
    return Peer(name, loader(model, optimizer), epoch, evaluate, seen)


def textbook(task: Task) -> Peer:
    model, tokens = task.model(), task.tokens()
    train = tokens[task.train]
    return torch_peer(
        "textbook PyTorch",
        task,
        model,
        lambda: model(train)[:, 2],
        lambda: model(tokens)[:, 2],
        None,
    )


def last_position(task: Task, compiled: bool) -> Peer:
    """Only what the read-out at `=` needs, eager or through torch.compile; RuntimeError if that fails."""
    model, p = task.model(), task.modulus
    logits = model.logits_at_equals
    post = model.mlp_post_at_equals
    if compiled:
        torch._dynamo.reset()  # inductor fixes the number of threads when it compiles
        logits, post = torch.compile(logits, dynamic=False), torch.compile(post, dynamic=False)
    a, b = task.a[task.train], task.b[task.train]
    peer = torch_peer(
        COMPILED if compiled else "last position, eager",
        task,
        model,
        lambda: logits(a, b),
        lambda: logits(task.a, task.b),
        lambda: post(task.a, task.b)[1].view(p, p, D_MLP),
    )
    if compiled:
        peer.evaluate()  # torch.compile puts its work, and its errors, off until a call
    return peer


def transformer_lens(task: Task) -> Peer:
    """HookedTransformer as in the paper's code; raises ImportError where it is not installed."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    settings = {"n_layers": 1, "n_heads": NUM_HEADS, "d_model": D_MODEL, "d_mlp": D_MLP, "n_ctx": 3}
    config = HookedTransformerConfig(
        **settings,
        d_head=D_MODEL // NUM_HEADS,
        act_fn="relu",
        normalization_type=None,
        d_vocab=task.modulus + 1,
        d_vocab_out=task.modulus,
        device="cpu",
    )
    model = HookedTransformer(config)
    weights = dict(task.model().named_parameters())
    for name, parameter in model.named_parameters():
        field = name.rsplit(".", 1)[-1]
        parameter.requires_grad = field in weights
        parameter.data = (
            weights[field].data.clone() if field in weights else torch.zeros_like(parameter)
        )

    tokens, kept = task.tokens(), {}
    train = tokens[task.train]

    def hooked() -> Tensor:
        hook = ("blocks.0.mlp.hook_post", lambda value, hook: kept.update(post=value))
        return model.run_with_hooks(tokens, fwd_hooks=[hook])[:, 2]

    def surfaces() -> Tensor:
        hooked()
        return kept["post"][:, 2].view(task.modulus, task.modulus, D_MLP)

    return torch_peer(TRANSFORMER_LENS, task, model, lambda: model(train)[:, 2], hooked, surfaces)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """As in a run with the kernel: torch's idle threads would spin on the cores of the kernel's."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def folded(task: Task, backend: Backend) -> Peer:
    """This project's path: fold, the fused kernel, backward, AdamW."""
    model, p = task.model(), task.modulus
    optimizer = adamw(model.parameters())
    goal, every, neurons = task.targets[task.train], torch.arange(p * p), torch.arange(D_MLP)
    out = torch.empty(p, p, D_MLP)

    @one_torch_thread()
    def epoch() -> float:
        mean, step = backend.training_step(parameters_of(model), task.train, goal)
        optimizer.zero_grad()
        mean.backward()
        optimizer.step()
        return step.loss

    def tables() -> Tables:
        return backend.fold(parameters_of(model))

    @one_torch_thread()
    def evaluate() -> tuple[float, float]:
        result = backend.evaluate(tables(), every, task.targets)
        return result.loss, result.accuracy

    @one_torch_thread()
    def surfaces() -> Tensor:
        return backend.activations(backend.fold(parameters_for_surfaces(model)), neurons, out)

    load_weights, folded_once = loader(model, optimizer), [tables()]

    def load(weights: dict[str, Tensor]) -> None:
        load_weights(weights)
        folded_once[0] = tables()

    @one_torch_thread()
    def of_tables() -> float:
        return backend.evaluate(folded_once[0], every, task.targets).loss

    return Peer(f"kernel {backend.name}", load, epoch, evaluate, surfaces, of_tables)
