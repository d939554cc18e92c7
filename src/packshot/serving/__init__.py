"""From weights to pictures over HTTP. It sees weights and pixels, never params, stages or MLflow."""
