"""``gns3server doctor``: what there is of a server and its labs, and what of it is in no order."""
