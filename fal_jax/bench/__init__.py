"""--mode=bench: how fast training, prediction and input are on this machine."""
