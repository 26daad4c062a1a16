# %% [markdown]
# # A network that groks, opened step by step
#
# A transformer of one layer sees some of all sums a + b mod p. It soon has them by heart; much later, and all
# at once, it answers the others too. Here it is trained, watched, and taken apart as in [Nanda et al.
# (2023)](https://arxiv.org/abs/2301.05217), who found what it has learned: to turn each number into an angle,
# to add the angles, and to read the sum off.
#
# All of it takes a few minutes on two processor cores. The numbers below are computed here, from the
# networks trained here, so the text does not say them: rounding differs between machines, and with it when a
# network groks and which frequencies it chooses. **Every measure of the trained network stands beside the
# same of an untrained one**, since many a random table looks like structure.
#
# The folder of runs keeps what is finished: run the notebook again and it begins where it ended.

# %%
import numpy as np
import plotly.graph_objects as go
import plotly.io
from plotly.subplots import make_subplots

import grokking

plotly.io.templates.default = "plotly_white"

# %% tags=["parameters"]
folder = "artifacts/notebook"
setting = {"modulus": 37, "d_mlp": 128, "train_fraction": 0.4, "learning_rate": 3e-3}
seed, epochs = 1, 2500
weight_decays, seeds = [1.0, 2.0, 4.0], [1, 2]  # of the sweep at the end

# %% [markdown]
# ## 1. Train
#
# One epoch is one step on all training pairs at once. Weight decay is 1, as in the paper; the rest is smaller
# or quicker than there, and listed.

# %%
p = setting["modulus"]
decaying = {"weight_decay": 1.0, "seed": seed, "num_epochs": epochs, **setting}
run = grokking.train(f"{folder}/decay", resume=True, **decaying)
print(run)
print("not as in the paper:", *(f"{name}={value}" for name, value in run.departures.items()))

# %% [markdown]
# ## 2. It memorises, waits, and groks
#
# Look for three stretches: training accuracy rises first; then validation accuracy stays low, as if nothing
# were happening; then it rises, too.

# %%
run.figure("curves")

# %%
history = run.history
waiting = (history.training_accuracy > 0.99) & (history.validation_accuracy < 0.5)
print(
    f"outcome: {run.outcome}; memorised at epoch {run.memorization_epoch}, grokked at {run.grok_epoch}"
)
print(
    f"epochs with training accuracy above 99 % and validation accuracy below 50 %: {waiting.sum()}"
)

# %% [markdown]
# Three networks are compared from here on: the untrained one, the one that has just memorised, and the last.

# %%
stages = {
    "untrained": run.at(0),
    "memorised": run.at(run.memorization_epoch or 0),
    "trained": run.final,
}
colors = dict(zip(stages, ("#999999", "#E69F00", "#0072B2"), strict=True))
trained = stages["trained"]

print(f"5 + 3 is {(5 + 3) % p}")
for name, state in stages.items():
    print(
        f"{name:9}  epoch {state.epoch:5,}  answers {state.predict(5, 3):2}"
        f"  right: training {state.accuracy('training'):4.0%}, validation {state.accuracy('validation'):4.0%}"
    )

# %% [markdown]
# ## 3. The embedding: a few frequencies
#
# `W_E` gives each number x a vector. As a function of x, it is a sum of waves cos(wx) and sin(wx) with w =
# 2πk/p. A random table holds all frequencies k alike. Does the trained one?


# %%
def bars(values, title):
    """A bar for each frequency 1 ... (p - 1) / 2 and each stage."""
    figure = go.Figure(layout={"title": title, "xaxis_title": "frequency k", "height": 350})
    for name, heights in values.items():
        x = np.arange(1, len(heights) + 1)
        figure.add_bar(x=x, y=heights, name=name, marker_color=colors[name])
    return figure


bars(
    {name: state.spectrum("W_E") for name, state in stages.items()}, "Norm of each frequency in W_E"
)

# %% [markdown]
# The **key frequencies** are those whose norm in W_L exceeds a quarter of the largest. W_L = W_out W_U leads
# from the neurons to the logits; we come to it below. At random weights nearly all frequencies count as key,
# so how many there are says whether the network has chosen.

# %%
keys = trained.key_frequencies()
print("key frequencies of the trained network:", *keys)
for name, state in stages.items():
    print(f"{name:9}  {len(state.key_frequencies()):2} of {(p - 1) // 2}")

# %% [markdown]
# ## 4. Numbers on circles
#
# On cos and sin of one frequency the numbers should lie like the hours of a clock, x at the angle wx. The
# lower row is the control, and a needed one: the two directions are chosen to show a circle, so the untrained
# table shows a rough one as well. The share of the embedding's variance is what differs most.


# %%
def waves(k):
    """Unit vectors cos and sin of frequency k over 0 ... p - 1: [p, 2]."""
    angle = 2 * np.pi * k / p * np.arange(p)
    return np.sqrt(2 / p) * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def clock(state, k):
    """The numbers along their own cos and sin of frequency k, [p, 2], and the share of variance there."""
    embedding = state.weights["W_E"][:p].astype(float)
    embedding -= embedding.mean(axis=0)
    directions = waves(k).T @ embedding  # [2, d_model]
    share = (directions**2).sum() / (embedding**2).sum()
    return embedding @ (directions.T / np.linalg.norm(directions, axis=1)), share


shown = sorted(keys, key=lambda k: -trained.spectrum("W_E")[k - 1])[:3]  # the largest
clocks = {(name, k): clock(stages[name], k) for name in ("trained", "untrained") for k in shown}
titles = [f"k = {k}: {share:.0%}" for (_, k), (_, share) in clocks.items()]
figure = make_subplots(2, len(shown), subplot_titles=titles, vertical_spacing=0.15)
for i, ((name, k), (points, _)) in enumerate(clocks.items()):
    order = np.argsort(k * np.arange(p) % p)  # by angle
    circle = go.Scatter(
        x=points[order, 0],
        y=points[order, 1],
        text=[x if x < 3 else "" for x in order],
        hovertext=order,
        mode="lines+markers+text",
        textposition="top center",
        line={"color": colors[name], "width": 1},
    )
    place = {"row": i // len(shown) + 1, "col": i % len(shown) + 1}
    figure.add_trace(circle, **place)
    figure.update_yaxes(scaleanchor=f"x{i + 1}", constrain="domain", **place)
figure.update_yaxes(title="trained", row=1, col=1)
figure.update_yaxes(title="untrained", row=2, col=1)
figure.update_xaxes(constrain="domain")
figure.update_annotations(font_size=12)
figure.update_layout(height=600, showlegend=False)

# %% [markdown]
# ## 5. Attention
#
# The answer is read at `=`. How much does it attend to the first number, in each head? In the untrained
# network a third, whatever the numbers are: there are three tokens. In a network that computes, the score of
# a number should be a wave of it.

# %%
heads = trained.weights["W_Q"].shape[0]
titles = [f"head {h}" for h in range(heads)]
figure = make_subplots(2, heads, subplot_titles=titles, shared_xaxes=True, shared_yaxes=True)
for row, name in enumerate(("trained", "untrained"), start=1):
    for h, to_a in enumerate(stages[name].attention()[:, 0]):  # [p, p]
        figure.add_heatmap(z=to_a.T, coloraxis="coloraxis", row=row, col=h + 1)
    figure.update_yaxes(title=f"{name}: b", row=row, col=1)
figure.update_xaxes(title="a", row=2)
figure.update_layout(
    title="Attention from = to a",
    height=500,
    coloraxis={"colorscale": "Viridis", "cmin": 0, "cmax": 1},
)


# %%
def score_shares(state):
    """Frequency and share of the strongest wave in each head's score of a, against that of =."""
    attention = state.attention()  # [head, to a, b or =, a, b]
    scores = np.log(attention[:, 0, :, 0] / attention[:, 2, :, 0])
    power = np.abs(np.fft.rfft(scores, axis=1)[:, 1:]) ** 2
    return power.argmax(axis=1) + 1, power.max(axis=1) / power.sum(axis=1)


print("the strongest frequency of each head's scores, and its share of their variance")
for name, state in stages.items():
    print(
        f"{name:9}",
        *(f"  k = {k:2}: {share:4.0%}" for k, share in zip(*score_shares(state), strict=True)),
    )

# %% [markdown]
# ## 6. Neurons: waves of one frequency
#
# A neuron's activation is a surface over (a, b). Its strongest frequency is the one whose products of 1,
# cos(wa), sin(wa) with 1, cos(wb), sin(wb) hold most of its variance. The paper counts neurons of which one
# frequency holds more than 85 %.


# %%
def neuron_shares(state):
    """Share of each neuron's variance in each frequency, [(p - 1) / 2, d_mlp]; 0 for one that is off."""
    power = np.abs(np.fft.fft2(state.surfaces(), axes=(0, 1))) ** 2
    power[0, 0] = 0  # the mean
    blocks = [np.ix_([0, k, -k], [0, k, -k]) for k in range(1, (p + 1) // 2)]
    return np.stack([power[block].sum(axis=(0, 1)) for block in blocks]) / power.sum((0, 1)).clip(
        1e-30
    )


shares = {name: neuron_shares(state) for name, state in stages.items()}
figure = go.Figure(
    layout={"barmode": "overlay", "height": 350, "yaxis_title": "neurons"}
    | {"title": "Share of a neuron's variance in its strongest frequency"}
)
for name, values in shares.items():
    bins = {"start": 0, "end": 1.05, "size": 0.05}
    figure.add_histogram(
        x=values.max(axis=0), xbins=bins, name=name, marker_color=colors[name], opacity=0.6
    )
figure

# %%
for name, values in shares.items():
    strongest = values.argmax(axis=0) + 1
    print(
        f"{name:9}  above 85 %: {(values.max(axis=0) > 0.85).mean():4.0%} of the neurons"
        f"  strongest at a key frequency: {np.isin(strongest, keys).mean():4.0%}"
    )
print(
    f"by chance {len(keys) / ((p - 1) // 2):.0%} would be strongest at one of {len(keys)} frequencies"
)

# %% [markdown]
# The neuron that is most nearly one wave. Drag it.

# %%
trained.figure("surface", neuron=trained.most_periodic(1)[0])

# %% [markdown]
# And the one that comes nearest to a wave before training:

# %%
untrained = stages["untrained"]
untrained.figure("surface", neuron=untrained.most_periodic(1)[0])

# %% [markdown]
# ## 7. Out of the neurons: waves of a + b
#
# W_L = W_out W_U maps neurons to logits. Across the p answers c it, too, should hold the key frequencies
# alone:

# %%
bars(
    {name: state.spectrum("W_L") for name, state in stages.items()}, "Norm of each frequency in W_L"
)

# %% [markdown]
# So the neurons reach the logits along two directions a frequency: the sums of W_L over c, weighted by
# cos(wc) and by sin(wc). What arrives along the first should be cos(w(a + b)), along the second sin(w(a +
# b)): the angles have been added. Shown is the share of its variance that this wave explains.


# %%
def explained(values, wave):
    """Share of the variance of an array that a multiple of a wave and a constant explain."""
    return np.corrcoef(values.ravel(), np.broadcast_to(wave, values.shape).ravel())[0, 1] ** 2


a, b = np.indices((p, p))
for name, state in stages.items():
    W_L = state.weights["W_out"] @ state.weights["W_U"]  # [d_mlp, p]
    surfaces = state.surfaces()
    for k in shown:
        pairs = zip((surfaces @ (W_L @ waves(k))).T, waves(k)[(a + b) % p].T, strict=True)
        cos, sin = (explained(arriving, wave) for arriving, wave in pairs)
        print(f"{name:9}  k = {k:2}: cos {cos:4.0%}, sin {sin:4.0%}")

# %% [markdown]
# ## 8. The logits: cos(w(a + b - c))
#
# cos(wc) cos(w(a + b)) + sin(wc) sin(w(a + b)) = cos(w(a + b - c)): largest at c = a + b, for every
# frequency. Few frequencies together are large nowhere else. How much of the variance of all p³ logits is
# that, each frequency by itself? (Each pair's mean logit is left out: the softmax does not see it.)


# %%
def cosine_shares(state):
    """Share of the logits' variance that cos(w_k (a + b - c)) explains, for each k."""
    logits = state.logits()
    logits -= logits.mean(axis=2, keepdims=True)
    off = (a + b)[:, :, None] - np.arange(p)  # a + b - c
    return np.array(
        [explained(logits, np.cos(2 * np.pi * k / p * off)) for k in range(1, (p + 1) // 2)]
    )


cosines = {name: cosine_shares(state) for name, state in stages.items()}
bars(cosines, "Share of the logits' variance in cos(w(a + b - c))")

# %%
for name, values in cosines.items():
    print(
        f"{name:9}  at the key frequencies {values[np.array(keys) - 1].sum():6.1%}, at all {values.sum():6.1%}"
    )

# %% [markdown]
# ## 9. Does the network use it? Take it away
#
# That a wave is there does not show that it does the work. So the logits are confined to the waves of a + b
# at the key frequencies (and each answer's mean): if these do the work, the loss stays low. And they are
# taken out of the logits: then it should be no better than guessing. The control does both with as many other
# frequencies (or all there are; nan if there are none), drawn 20 times.


# %%
def loss(logits):
    """Mean loss of all pairs in nats."""
    above = logits - logits.max(axis=2, keepdims=True)
    log_shares = above - np.log(np.exp(above).sum(axis=2, keepdims=True))
    return -log_shares[a, b, (a + b) % p].mean()


def at_frequencies(logits, chosen):
    """The part of the logits that is a wave of a + b at the chosen frequencies."""
    by_sum = np.stack([logits[(a + b) % p == s].mean(axis=0) for s in range(p)])  # [a + b, c]
    basis = np.hstack([waves(k) for k in chosen])
    return (basis @ basis.T @ by_sum)[(a + b) % p]


logits = trained.logits().astype(float)
means = logits.mean(axis=(0, 1))
draw = np.random.default_rng(0)
others = [k for k in range(1, (p + 1) // 2) if k not in keys]
drawn = [draw.permutation(others)[: len(keys)] for _ in range(20 if others else 0)]

print(f"guessing: {np.log(p):.3g}; the network as it is: {loss(logits):.3g}\n")
ablations = {
    "confined to": lambda chosen: loss(at_frequencies(logits, chosen) + means),
    "without": lambda chosen: loss(logits - at_frequencies(logits, chosen)),
}
for name, ablated in ablations.items():
    print(f"{name} the key frequencies: {ablated(keys):.3g}")
    control = [ablated(chosen) for chosen in drawn]
    low, middle, high = np.quantile(control, [0, 0.5, 1]) if control else [np.nan] * 3
    print(f"{name} as many others: {middle:.3g} ({low:.3g} to {high:.3g})\n")

# %% [markdown]
# ## 10. While nothing seemed to happen
#
# The same two ablations at every recorded epoch, with the trained network's key frequencies. Restricted loss
# (key frequencies alone, all pairs) falling while validation loss is still high: the circuit grows on the
# plateau. Excluded loss (training pairs, without them) rising: the network comes to need it. The left end of
# each curve is the untrained network.

# %%
run.figure("progress")

# %%
run.figure("spectrum")

# %% [markdown]
# ## 11. Two runs: without weight decay
#
# The same initial weights and the same training pairs, but nothing makes large weights costly.

# %%
plain = grokking.train(f"{folder}/no_decay", resume=True, **{**decaying, "weight_decay": 0.0})
figure = go.Figure(
    layout={"xaxis_title": "epoch", "yaxis_tickformat": ".0%", "height": 350, "title": "Accuracy"}
)
for one, color in ((run, "#0072B2"), (plain, "#D55E00")):
    for part, dash in (("training", "dot"), ("validation", "solid")):
        figure.add_scatter(
            x=one.history.epochs,
            y=getattr(one.history, f"{part}_accuracy"),
            name=f"weight decay {one.config.weight_decay:g}, {part}",
            line={"color": color, "dash": dash},
        )
figure

# %%
for one in (run, plain):
    last = one.final
    print(
        f"weight decay {one.config.weight_decay:g}: {one.outcome};"
        f" squared weights {sum((w.astype(float) ** 2).sum() for w in last.weights.values()):,.0f},"
        f" key frequencies {len(last.key_frequencies())} of {(p - 1) // 2},"
        f" neurons above 85 %: {(neuron_shares(last).max(axis=0) > 0.85).mean():.0%}"
    )

# %% [markdown]
# ## 12. A small sweep
#
# Does more weight decay grok sooner? One run is an anecdote: the seed alone moves the grok epoch. Each run of
# a sweep is a process of its own, as many at a time as there are cores. A triangle is a run that had not
# grokked when it ended.

# %%
sweep = grokking.sweep(
    {"weight_decay": weight_decays},
    seeds=seeds,
    folder=f"{folder}/sweep",
    num_epochs=epochs,
    stop_after_grok=0,
    **setting,
)
figure = go.Figure(
    layout={"xaxis": {"type": "category", "title": "weight decay"}, "height": 400}
    | {"yaxis": {"title": "grok epoch", "rangemode": "tozero"}}
)
for number in seeds:
    runs = [one for one in sweep.runs if one.config.seed == number]
    figure.add_scatter(
        x=[f"{one.config.weight_decay:g}" for one in runs],
        y=[one.grok_epoch or one.history.epochs[-1] for one in runs],
        name=f"seed {number}",
        mode="markers",
        marker={
            "size": 12,
            "symbol": ["circle" if one.grok_epoch else "triangle-up-open" for one in runs],
        },
    )
figure

# %% [markdown]
# ## From here
#
# `grokking.train("artifacts/paper", num_epochs=10000)` is the paper's own setting: p = 113, 30 % of the
# pairs, minutes rather than seconds. [docs/python.md](python.md) has the rest of what Python can ask,
# [docs/NOTES.md](NOTES.md) the mathematics; `python -m grokking report artifacts/notebook/decay` writes this
# story as a page, with the paper's figures beside the run's.
