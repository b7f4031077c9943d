"""Golden data for losses, optimisers and the learning-rate schedule, in float64: `training.json`."""
import math

import numpy as np
import torch
import torch.nn.functional as F

from golden import numbers, write

SEED, BATCH, CLASSES, STEPS, LENGTH = 11, 5, 7, 3, 24


def _float32(values):
    """Rounded to what the file can hold, so that both sides start from the same numbers."""
    return torch.tensor(np.float32(np.round(values, 4))).double()


def _loss(logits, function):
    logits = logits.clone().requires_grad_()
    loss = function(logits)
    loss.backward()
    return {"loss": loss.item(), "gradient": numbers(logits.grad)}


def losses(generator):
    """Mean losses over the batch and their gradients; distillation is the cross entropy with softmax(teacher)."""
    logits, teacher = (_float32(generator.normal(0, 3, (BATCH, CLASSES))) for _ in range(2))
    labels = torch.tensor(generator.integers(0, CLASSES, BATCH))
    return {
        "batch": BATCH, "classes": CLASSES, "logits": numbers(logits), "labels": labels.tolist(),
        "teacher_logits": numbers(teacher), "smoothing": 0.1,
        "cross_entropy": _loss(logits, lambda x: F.cross_entropy(x, labels)),
        "smoothed": _loss(logits, lambda x: F.cross_entropy(x, labels, label_smoothing=0.1)),
        "distillation": _loss(logits, lambda x: F.cross_entropy(x, teacher.softmax(1))),
    }


def _steps(optimizer, decayed, free, gradients):
    """The parameter vector after each step; the first half decays, the second does not."""
    after = []
    for gradient in gradients:
        decayed.grad, free.grad = gradient[: LENGTH // 2].clone(), gradient[LENGTH // 2 :].clone()
        optimizer.step()
        after.append(numbers(torch.cat([decayed, free])))
    return after


def optimizers(generator):
    """Three steps each of Nesterov SGD, plain SGD with momentum, and Adam (decay added to the gradient)."""
    start, gradients = _float32(generator.normal(0, 1, LENGTH)), _float32(generator.normal(0, 1, (STEPS, LENGTH)))
    content = {"start": numbers(start), "gradients": [numbers(g) for g in gradients], "decayed": LENGTH // 2}

    def run(make, decay):
        parts = [p.clone().requires_grad_() for p in (start[: LENGTH // 2], start[LENGTH // 2 :])]
        groups = [{"params": [parts[0]], "weight_decay": decay}, {"params": [parts[1]], "weight_decay": 0.0}]
        return _steps(make(groups), *parts, gradients)

    sgd = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.003}
    adam = {"learning_rate": 0.01, "betas": [0.9, 0.999], "epsilon": 1e-8, "weight_decay": 0.003}
    content["nesterov"] = sgd | {"after": run(lambda g: torch.optim.SGD(g, 0.1, 0.9, nesterov=True), 0.003)}
    content["momentum"] = sgd | {"after": run(lambda g: torch.optim.SGD(g, 0.1, 0.9), 0.003)}
    content["adam"] = adam | {"after": run(lambda g: torch.optim.Adam(g, 0.01, (0.9, 0.999), 1e-8), 0.003)}
    return content


def cosine():
    """PyTorch's cosine annealing from the base rate to zero, one value a step."""
    total, base = 10, 0.05
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], base)
    schedule, rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total), []
    for _ in range(total):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert math.isclose(rates[5], base / 2)
    return {"base": base, "total": total, "rates": rates}


def make():
    generator = np.random.default_rng(SEED)
    content = {"losses": losses(generator), "optimizers": optimizers(generator), "cosine": cosine()}
    write("training", "golden_training.py", SEED, content)
