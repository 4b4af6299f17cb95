//! A route of the HTTP side and who may call it. Routers are built from tables of
//! these and of nothing else, so that no route can be forgotten by a guard or a test.

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Anyone who reaches the port.
    Public,
    /// A member, by `Authorization: Bearer smb_…`.
    Member,
    /// A signed-in operator, by cookie.
    Operator,
}

/// One path.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// As axum writes it.
    pub path: &'static str,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Who may call.
    pub guard: Guard,
}
