//! Weight and activation thresholds.
