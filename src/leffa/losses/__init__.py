"""The Leffa loss and the diffusion loss, in torch alone."""
