"""The query gateway: one service object, hosted over gRPC and over HTTP with a dashboard."""
