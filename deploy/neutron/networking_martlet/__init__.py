"""The Neutron side of Martlet: an ML2 mechanism driver without agents."""
