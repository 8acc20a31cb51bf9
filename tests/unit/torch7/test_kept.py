"""What a text keeps in Lua goes on with its training: counters of hooks, fields of its own classes, tables and tensors."""

from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.errors import StopRequested
from jobs.networks.contract import Network, NetworkParams
from jobs.torch7 import kept
from jobs.torch7.contract import build_lua_network
from jobs.training.job import train
from jobs.worker import WorkerJob
from tests.unit.digits_jobs import events_of, make_dataset, model_job
from tests.unit.test_resuming import StopAt, taken_up, told, weights

# Everything in which people keep what is to last: fields, numbers, tables in tables, tensors that grow, globals, objects
# with a metatable, and a module that the text runs itself.
COUNTING = r"""
local Smooth, parent = torch.class('nn.Smooth', 'nn.Module')
Smooth.made = 0
function Smooth:__init()
    parent.__init(self)
    self.steps, self.mean, self.past = 0, torch.zeros(1), { last = { value = 0, name = 'b\195' } }
    Smooth.made = Smooth.made + 1
end
function Smooth:updateOutput(input)
    if self.train then
        self.steps = self.steps + 1
        self.mean:mul(0.9):add(0.1 * input:mean())
        self.past.last.value = self.past.last.value + 0.001 * self.mean[1]
        self.past[#self.past + 1] = self.steps
        if self.steps == 3 then self.late = 0.01 end
    end
    self.output = input * (1 + self.steps / 1000) + self.mean[1] + self.past.last.value + #self.past / 1000 + (self.late or 0)
    return self.output
end
function Smooth:updateGradInput(input, gradOutput)
    self.gradInput = gradOutput * (1 + self.steps / 1000)
    return self.gradInput
end

local Moving, criterion = torch.class('nn.Moving', 'nn.Criterion')
function Moving:__init() criterion.__init(self) self.scale = 1 end
function Moving:updateOutput(output, target)
    local loss = (output - target):pow(2):mean()
    self.scale = 0.9 * self.scale + 0.1 * math.sqrt(loss)
    return loss / self.scale
end
function Moving:updateGradInput(output, target)
    return (output - target):mul(2 / output:nElement() / self.scale)
end

local Counter = {}
Counter.__index = Counter
function Counter:more() self.count = self.count + 1 return self.count end

local counter, seen, words = setmetatable({ count = 0 }, Counter), torch.Tensor(), 'x'
local beside = nn.SpatialBatchNormalization(1)
local first, turns
calls = 0
local function hook(input, label)
    calls = calls + 1
    first = first or calls
    turns = turns or setmetatable({ count = 10 }, Counter)
    words = words .. 'x'
    seen:resize(calls):fill(calls)
    beside:forward(input)
    return input + counter:more() / 1000 + turns:more() / 1000 + seen:sum() / 1000 + #words / 1000 + math.random() / 100
      + beside.running_mean[1] / 1000 + first
end

return function(params)
    local net = nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add(nn.MulConstant(1 / 256)):add(nn.Linear(400, 10))
        :add(nn.Smooth()):add(nn.Linear(10, 400)):add(nn.View(1, 20, 20):setNumInputDims(1))
    return { model = net, loss = nn.Moving(), labelHook = hook }
end
"""
OPTIONS = {
    "framework": "torch",
    "custom_network": COUNTING,
    "crop_size": 20,
    "use_mean": "pixel",
    "train_epochs": 5,
    "batch_size": 10,
}


def warnings_of(job: WorkerJob) -> list[str]:
    return [event["text"] for event in events_of(job, "message") if event["level"] == "warning"]


def trained(jobs_dir: Path, **changes: Any) -> WorkerJob:
    make_dataset(jobs_dir)
    job = model_job(jobs_dir, **OPTIONS | changes)
    train(job)
    return job


def test_a_training_that_was_left_goes_on_with_what_lua_keeps(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    make_dataset(tmp_path / "parts")
    job = model_job(tmp_path / "parts", **OPTIONS)
    for part, times in enumerate((4, 9, 13)):
        stopped = taken_up(job, StopAt(times)) if part else WorkerJob(job.folder, job.spec, job.events, StopAt(times))
        with pytest.raises(StopRequested):
            train(stopped)
    train(taken_up(job))
    assert told(job) == told(whole)
    assert weights(job, 5) == weights(whole, 5)
    assert not warnings_of(job)


def test_frames_and_the_check_of_a_network_leave_it_as_it_was(tmp_path: Path) -> None:
    live, without = (trained(tmp_path / str(on), live_layers=on) for on in (True, False))
    assert len(events_of(live, "frame")) > 1
    assert told(live) == told(without)
    assert weights(live, 5) == weights(without, 5)


def test_what_no_snapshot_can_hold_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_NUMBERS", 1000)
    text = COUNTING.replace(
        "calls = calls + 1",
        "calls = calls + 1\n    late = late or function() return calls end\n    layer = layer or nn.Linear(2, 2)\n"
        "    big:fill(calls)",
    ).replace("calls = 0", "calls, big, still = 0, torch.zeros(2000), torch.zeros(3000)")
    (warning,) = warnings_of(trained(tmp_path, custom_network=text))
    assert warning == (
        "The network's text makes big (a tensor of 2,000 numbers), late (a function), layer (a module) while it trains, "
        "which no snapshot holds: when the training is interrupted it goes on with what the text begins with. Make functions "
        "and modules when the network is made, and keep what changes as numbers, strings and small tensors."
    )


def built(text: str) -> Network:
    return build_lua_network(
        f"{text}\nreturn function() return {{ model = nn.Sequential():add(nn.Linear(2, 2)), labelHook = hook }} end",
        NetworkParams((1, 1, 2)),
    )


def targets(network: Network, times: int) -> list[float]:
    one = torch.ones(1)
    return [float(network.label_hook(one, one)[0]) for _ in range(times)]


@pytest.mark.parametrize(
    "text",
    [
        # A queue whose objects change places, and one that is in itself.
        "local queue = {{1}, {2}, {3}}\nqueue[1].all = queue\n"
        "function hook(input) table.insert(queue, table.remove(queue, 1)) return input * queue[1][1] end",
        # Two functions that share a variable, of which one is replaced by another of the same lines.
        "local n = 0\nlocal function new() return function() n = n + 1 return n end end\nlocal more, less = new(), new()\n"
        "function hook(input) more, less = less, more return input * (more() + 10 * less()) end",
        # Tables and tensors as keys, and what is taken away.
        "local key, t = {}, {a = 1}\nt[key] = 1\n"
        "function hook(input) t[key] = t[key] * 2 t.a = nil return input * (t[key] + (t.a or 0)) end",
        # A tensor of two names, one of which is a part of it.
        "local whole = torch.zeros(4)\nlocal part = whole:narrow(1, 2, 1)\n"
        "function hook(input) part:add(1) return input * whole:sum() end",
        # The same, made when they are used first.
        "local whole, part\nfunction hook(input) whole = whole or torch.zeros(4) part = part or whole:narrow(1, 2, 1) "
        "part:add(1) return input * whole:sum() end",
        # One that sees another way round, and one of a column, of one that was there before.
        "local whole, turned, column, n = torch.zeros(3, 2), nil, nil, 0\n"
        "function hook(input) n = n + 1 if n == 2 then turned, column = whole:t(), whole:select(2, 1) end whole:add(1) "
        "if turned then turned[1][2] = 2 * turned[1][2] column:mul(0.5) end return input * whole:sum() end",
        # One that has each number twice.
        "local whole = torch.zeros(1, 3)\nlocal wide = whole:expand(2, 3)\n"
        "function hook(input) whole:add(1) return input * wide:sum() end",
        # Numbers that JSON does not have, and a key with bytes that are no text.
        "local t = {['\\255\\0'] = 1 / 0}\n"
        "function hook(input) t['\\255\\0'] = t['\\255\\0'] > 1 and 1 or t['\\255\\0'] + 1 return input * t['\\255\\0'] end",
        # nn's own tables.
        "nn.count, torch.count = 0, {0}\nfunction hook(input) nn.count = nn.count + 1 torch.count[1] = torch.count[1] + 2 "
        "local l = nn.Identity() return input * (nn.count + torch.count[1]) end",
        # A metatable that comes later, and variables that are nil at first.
        "local t, last = {}, nil\nlocal meta = { __index = function() return 7 end }\n"
        "function hook(input) local x = t.x or 1 setmetatable(t, meta) last = (last or 0) + x return input * last end",
    ],
)
def test_a_text_that_runs_anew_goes_on_where_another_was(text: str) -> None:
    undisturbed = targets(built(text), 9)
    first = built(text)
    assert targets(first, 4) == undisturbed[:4]
    assert first.kept is not None
    taken = first.kept.take()
    with first.kept.unchanged():
        targets(first, 2)
    assert targets(first, 5) == undisturbed[4:]
    second = built(text)
    assert second.kept is not None
    targets(second, 1)
    second.kept.put_back(taken)
    assert targets(second, 5) == undisturbed[4:]
    assert second.kept.lost() == []
