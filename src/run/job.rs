//! One job on the measuring lane.
