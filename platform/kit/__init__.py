"""The domain-free toolbox: no models, no word of tenants, skills or usage."""
