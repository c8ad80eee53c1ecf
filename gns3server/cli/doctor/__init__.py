"""``gns3server doctor``: what a server and its labs consist of, and what is wrong with them."""
