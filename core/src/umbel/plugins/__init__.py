"""How transports, stores, serializers and routers are found."""
