"""Networks in the Lua of Torch7, on PyTorch. Lua runs in workers, predictors and network checks only."""
