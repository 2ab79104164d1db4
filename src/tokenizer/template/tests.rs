//! Claims about chat templates.
