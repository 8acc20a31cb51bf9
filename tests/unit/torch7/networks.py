"""Networks in Lua of the families that people have, written for these tests. Each is a whole text as one would paste it."""

AUTOENCODER = """
local autoencoder = nn.Sequential()
autoencoder:add(nn.MulConstant(0.00390625))
autoencoder:add(nn.View(-1):setNumInputDims(3))
autoencoder:add(nn.Linear(784, 300))
autoencoder:add(nn.ReLU())
autoencoder:add(nn.Linear(300, 50))
autoencoder:add(nn.ReLU())
autoencoder:add(nn.Linear(50, 300))
autoencoder:add(nn.ReLU())
autoencoder:add(nn.Linear(300, 784))
autoencoder:add(nn.View(1, 28, 28):setNumInputDims(1))

function hook(input, dblabel)
    return input
end

return function(params)
    return { model = autoencoder, loss = nn.MSECriterion(), trainBatchSize = 64, validationBatchSize = 100, labelHook = hook }
end
"""

# With cuDNN where there is one, as the standard networks look for it.
LENET = """
if pcall(function() require('cudnn') end) then
    backend = cudnn
    convLayer = cudnn.SpatialConvolution
else
    backend = nn
    convLayer = nn.SpatialConvolutionMM
end

return function(params)
    local channels = 1
    if params.inputShape then
        assert(params.inputShape[2] == 28 and params.inputShape[3] == 28, 'Network expects 28x28 images')
        channels = params.inputShape[1]
    end
    local net = nn.Sequential()
    net:add(nn.MulConstant(0.0125))
    net:add(convLayer(channels, 20, 5, 5, 1, 1, 0))
    net:add(backend.SpatialMaxPooling(2, 2, 2, 2))
    net:add(convLayer(20, 50, 5, 5, 1, 1, 0))
    net:add(backend.SpatialMaxPooling(2, 2, 2, 2))
    net:add(nn.View(-1):setNumInputDims(3))
    net:add(nn.Linear(800, 500))
    net:add(backend.ReLU())
    net:add(nn.Linear(500, params.nclasses or 10))
    net:add(nn.LogSoftMax())
    return { model = net, loss = nn.ClassNLLCriterion(), trainBatchSize = 64, validationBatchSize = 32 }
end
"""

# In small: strides, pads, dropout and thresholds, a view without the number of dimensions, and several GPUs.
ALEXNET = """
local function features()
    local part = nn.Sequential()
    part:add(nn.SpatialConvolution(3, 16, 11, 11, 4, 4, 2, 2))
    part:add(nn.ReLU(true))
    part:add(nn.SpatialMaxPooling(3, 3, 2, 2))
    part:add(nn.SpatialConvolution(16, 24, 5, 5, 1, 1, 2, 2))
    part:add(nn.ReLU(true))
    part:add(nn.SpatialMaxPooling(3, 3, 2, 2))
    part:get(1).gradInput = nil
    return part
end

return function(params)
    local classifier = nn.Sequential()
    classifier:add(nn.View(24 * 3 * 3))
    classifier:add(nn.Dropout(0.5))
    classifier:add(nn.Linear(24 * 3 * 3, 32))
    classifier:add(nn.Threshold(0, 1e-6))
    classifier:add(nn.Linear(32, params.nclasses or 10))
    classifier:add(nn.LogSoftMax())
    local body = features()
    if params.ngpus > 1 then
        local parallel = nn.DataParallelTable(1)
        parallel:add(body, torch.range(1, params.ngpus):totable())
        body = parallel
        body:threads(function() require('cudnn') end)
    end
    return {
        model = nn.Sequential():add(body):add(classifier), loss = nn.ClassNLLCriterion(), croplen = 64,
        trainBatchSize = 16, validationBatchSize = 8,
    }
end
"""

# Inception modules from nested tables of numbers and a name, with ceil mode and batch normalization.
GOOGLENET = """
local function inception(inputs, config)
    local concat = nn.Concat(2)
    if config[1][1] ~= 0 then
        concat:add(nn.Sequential():add(nn.SpatialConvolution(inputs, config[1][1], 1, 1)):add(nn.ReLU(true)))
    end
    local three = nn.Sequential()
    three:add(nn.SpatialConvolution(inputs, config[2][1], 1, 1)):add(nn.ReLU(true))
    three:add(nn.SpatialConvolution(config[2][1], config[2][2], 3, 3, 1, 1, 1, 1))
    three:add(nn.SpatialBatchNormalization(config[2][2], 1e-3)):add(nn.ReLU(true))
    concat:add(three)
    local pool = nn.Sequential()
    pool:add(nn.SpatialZeroPadding(1, 1, 1, 1))
    if config[3][1] == 'max' then
        pool:add(nn.SpatialMaxPooling(3, 3, 1, 1):ceil())
    elseif config[3][1] == 'avg' then
        pool:add(nn.SpatialAveragePooling(3, 3, 1, 1):ceil())
    else
        error('no such pooling: ' .. config[3][1])
    end
    pool:add(nn.SpatialConvolution(inputs, config[3][2], 1, 1)):add(nn.ReLU(true))
    concat:add(pool)
    return concat
end

return function(params)
    local net = nn.Sequential()
    net:add(nn.SpatialConvolution(3, 8, 7, 7, 2, 2, 3, 3)):add(nn.ReLU(true))
    net:add(nn.SpatialMaxPooling(3, 3, 2, 2):ceil())
    net:add(inception(8, {{4}, {4, 8}, {'avg', 4}}))
    net:add(inception(16, {{0}, {8, 16}, {'max', 8}}))
    net:add(nn.SpatialAveragePooling(8, 8, 1, 1))
    net:add(nn.View(24):setNumInputDims(3))
    net:add(nn.Linear(24, params.nclasses or 5)):add(nn.LogSoftMax())
    return { model = net, trainBatchSize = 8, validationBatchSize = 4 }
end
"""

# Two images as two planes of one; the twins share their weights.
SIAMESE = """
return function(params)
    local one = nn.Sequential()
    one:add(nn.Reshape(1, 28, 28))
    one:add(nn.MulConstant(0.01))
    one:add(nn.SpatialConvolution(1, 6, 5, 5)):add(nn.ReLU())
    one:add(nn.SpatialMaxPooling(2, 2, 2, 2))
    one:add(nn.Reshape(6 * 12 * 12))
    one:add(nn.Linear(6 * 12 * 12, 2))
    one:add(nn.Reshape(1, 2))
    local other = one:clone('weight', 'bias', 'gradWeight', 'gradBias')
    local twins = nn.Parallel(2, 2)
    twins:add(one):add(other)
    local net = nn.Sequential():add(nn.Narrow(2, 2, 2)):add(twins):add(nn.SplitTable(2))
    local function hook(input, label)
        label[torch.eq(label, 0)] = -1
        return label
    end
    return { model = net, loss = nn.CosineEmbeddingCriterion(0.5), labelHook = hook, trainBatchSize = 8 }
end
"""

FINE_TUNED = """
return function(params)
    assert(params.ngpus <= 1, 'one GPU at most')
    local net = nn.Sequential()
    net:add(nn.View(-1):setNumInputDims(3))
    net:add(nn.Linear(784, 20)):add(nn.ReLU())
    net:add(nn.Linear(20, 10)):add(nn.LogSoftMax())
    local function tune(model)
        -- The first layer stays as it is, and two classes come after the ten.
        model:get(2).accGradParameters = function() end
        model:insert(nn.Linear(10, 2), 5)
        return model
    end
    return { model = net, fineTuneHook = tune, trainBatchSize = 1, validationBatchSize = 100,
             labelHook = function(input, label) return label:gt(5):float() + 1 end }
end
"""

SEGMENTATION = """
return function(params)
    local net = nn.Sequential()
    net:add(nn.SpatialConvolution(1, 8, 3, 3, 1, 1, 1, 1)):add(nn.ReLU())
    net:add(nn.SpatialConvolution(8, 16, 4, 4, 4, 4)):add(nn.ReLU())
    net:add(nn.SpatialFullConvolution(16, 1, 4, 4, 4, 4))
    return { model = net, loss = nn.SmoothL1Criterion(), trainBatchSize = 4, validationBatchSize = 4,
             labelHook = function(input) return input:clone():div(255) end }
end
"""

# Pixels are places of characters in an alphabet; rows of frames, as Torch's temporal layers have them.
TEXT = """
assert(pcall(function() require 'dpnn' end), 'dpnn is missing')
return function(params)
    local alphabet, length = 12, 64
    local net = nn.Sequential()
    net:add(nn.View(-1, length))
    net:add(nn.OneHot(alphabet))
    net:add(nn.TemporalConvolution(alphabet, 16, 7)):add(nn.Threshold())
    net:add(nn.TemporalMaxPooling(2, 2))
    net:add(nn.TemporalConvolution(16, 16, 3)):add(nn.Threshold())
    net:add(nn.Reshape(27 * 16, true))
    net:add(nn.Linear(27 * 16, 2)):add(nn.LogSoftMax())
    return { model = net, loss = nn.ClassNLLCriterion(), trainBatchSize = 8, validationBatchSize = 8 }
end
"""

REGRESSION = """
return function(params)
    local c, h, w = params.inputShape[1], params.inputShape[2], params.inputShape[3]
    local net = nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add(nn.Linear(c * h * w, 2))
    return { model = net, loss = nn.MSECriterion() }
end
"""

TWO_OUTPUTS = """
return function(params)
    local trunk = nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add(nn.Linear(784, 8))
    local heads = nn.ConcatTable():add(nn.Linear(8, 1)):add(nn.Linear(8, 1))
    local loss = nn.ParallelCriterion():add(nn.MSECriterion(), 0.5):add(nn.AbsCriterion())
    local function hook(input, label) return label:split(1, 2) end
    return { model = trunk:add(heads), loss = loss, labelHook = hook }
end
"""

GRAPH = """
require 'nngraph'
return function(params)
    local image = nn.Identity()()
    local flat = nn.View(-1):setNumInputDims(3)(image)
    local left = nn.Tanh()(nn.Linear(784, 16)(flat))
    local right = nn.ReLU()(nn.Linear(784, 16)(flat)):annotate{name = 'right'}
    local both = nn.CAddTable()({left, right})
    local skip = nn.JoinTable(1, 1)({both, left})
    local classes = nn.LogSoftMax()(nn.Linear(32, 10)(skip))
    nngraph.annotateNodes()
    return { model = nn.gModule({image}, {classes}) }
end
"""

# A class of one's own: half the input, with weights, forward and backward by hand.
OWN_CLASS = """
local Half, parent = torch.class('nn.Half', 'nn.Module')

function Half:__init(size)
    parent.__init(self)
    self.weight = torch.Tensor(size):fill(0.5)
    self.gradWeight = torch.Tensor(size):zero()
end

function Half:updateOutput(input)
    self.output:resizeAs(input):copy(input)
    self.output:cmul(self.weight:view(1, -1):expandAs(input))
    return self.output
end

function Half:updateGradInput(input, gradOutput)
    self.gradInput:resizeAs(gradOutput):copy(gradOutput)
    self.gradInput:cmul(self.weight:view(1, -1):expandAs(gradOutput))
    return self.gradInput
end

function Half:accGradParameters(input, gradOutput, scale)
    self.gradWeight:add(scale or 1, torch.cmul(input, gradOutput):sum(1):view(-1))
end

function Half:__tostring__() return torch.type(self) .. '(' .. self.weight:size(1) .. ')' end

return function(params)
    local net = nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add(nn.Half(784)):add(nn.Linear(784, 10))
    return { model = net, loss = nn.MSECriterion(), labelHook = function(input) return torch.zeros(input:size(1), 10) end }
end
"""

WEIGHTS = """
return function(params)
    local net = nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add(nn.Linear(784, 4)):add(nn.Linear(4, 3))
    for i, layer in ipairs(net:findModules('nn.Linear')) do
        layer.bias:fill(i)
        layer.weight:zero()
    end
    local weights, gradients = net:getParameters()
    assert(weights:nElement() == gradients:nElement())
    weights:mul(2)
    return { model = net, loss = nn.MSECriterion() }
end
"""

# Classes that inherit from nn's own, and change what they compute.
INHERITED = """
local Doubled, parent = torch.class('nn.Doubled', 'nn.Linear')
function Doubled:__init(inputs, outputs) parent.__init(self, inputs, outputs) end
function Doubled:updateOutput(input) return parent.updateOutput(self, input) * 2 end
function Doubled:updateGradInput(input, grad) return parent.updateGradInput(self, input, grad * 2) end
function Doubled:accGradParameters(input, grad, scale) parent.accGradParameters(self, input, grad * 2, scale) end

local Residual, base = torch.class('nn.Residual', 'nn.Sequential')
function Residual:updateOutput(input) return base.updateOutput(self, input) + input end
function Residual:updateGradInput(input, grad) return base.updateGradInput(self, input, grad) + grad end

local Block = torch.class('nn.Block', 'nn.Sequential')
function Block:__init(size)
    nn.Sequential.__init(self)
    self:add(nn.Linear(size, size)):add(nn.Tanh())
end

return function(params)
    local net = nn.Sequential():add(nn.MulConstant(0.01)):add(nn.View(-1):setNumInputDims(3))
    net:add(nn.Doubled(784, 8)):add(nn.Residual():add(nn.Linear(8, 8))):add(nn.Block(8))
    return { model = net, loss = nn.MSECriterion(), labelHook = function(input) return torch.zeros(input:size(1), 8) end }
end
"""

# Weights by names of their own, which `parameters` tells, and a module in a field, with dropout inside.
OWN_NAMES = """
local Gain = torch.class('nn.Gain', 'nn.Module')
function Gain:__init(size)
    nn.Module.__init(self)
    self.gain, self.gradGain = torch.ones(size), torch.zeros(size)
end
function Gain:parameters() return {self.gain}, {self.gradGain} end
function Gain:updateOutput(x)
    self.output = torch.cmul(x, self.gain:view(1, -1):expandAs(x))
    return self.output
end
function Gain:updateGradInput(x, grad)
    self.gradInput = torch.cmul(grad, self.gain:view(1, -1):expandAs(grad))
    return self.gradInput
end
function Gain:accGradParameters(x, grad, scale) self.gradGain:add(scale, torch.cmul(x, grad):sum(1):view(-1)) end

local Wrapped = torch.class('nn.Wrapped', 'nn.Module')
function Wrapped:__init()
    nn.Module.__init(self)
    self.inner = nn.Sequential():add(nn.Linear(784, 20)):add(nn.Dropout(0.5))
end
function Wrapped:parameters() return self.inner:parameters() end
function Wrapped:updateOutput(x)
    self.output = self.inner:forward(x)
    return self.output
end
function Wrapped:updateGradInput(x, grad)
    self.gradInput = self.inner:updateGradInput(x, grad)
    return self.gradInput
end
function Wrapped:accGradParameters(x, grad, scale) self.inner:accGradParameters(x, grad, scale) end

return function(params)
    local net = nn.Sequential():add(nn.MulConstant(0.01)):add(nn.View(-1):setNumInputDims(3))
    net:add(nn.Gain(784)):add(nn.Wrapped()):add(nn.Linear(20, 10))
    return { model = net, loss = nn.MSECriterion(), labelHook = function(input) return torch.zeros(input:size(1), 10) end }
end
"""

# A tied autoencoder with a criterion of its own, and a hook that holds the weights and looks at what a layer gave.
TIED_AUTOENCODER = """
local Robust, parent = torch.class('nn.RobustCriterion', 'nn.SmoothL1Criterion')
function Robust:__init(weight)
    parent.__init(self)
    self.weight = weight
end
function Robust:updateOutput(input, target) return parent.updateOutput(self, input, target) * self.weight end
function Robust:updateGradInput(input, target) return parent.updateGradInput(self, input, target) * self.weight end

return function(params)
    local encoder, decoder = nn.Linear(784, 32), nn.Linear(32, 784)
    decoder.weight = encoder.weight:t()
    decoder.gradWeight = encoder.gradWeight:t()
    local net = nn.Sequential():add(nn.MulConstant(0.00390625)):add(nn.View(-1):setNumInputDims(3))
    net:add(encoder):add(nn.Tanh()):add(decoder):add(nn.View(1, 28, 28):setNumInputDims(1))
    local function hook(input, label)
        encoder.weight:renorm(2, 1, 3)
        assert(net:get(4).output:size(2) == 32 and net:get(4).output:abs():max() <= 1)
        return input * 0.00390625
    end
    return { model = net, loss = nn.RobustCriterion(300), trainBatchSize = 16, labelHook = hook }
end
"""
