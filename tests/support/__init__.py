"""What tests share: peers that we did not write, and makers of inputs."""
