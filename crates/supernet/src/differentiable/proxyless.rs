//! # ProxylessNAS
