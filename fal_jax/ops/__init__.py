"""Operations that run faster than JAX's own on some platform; they know nothing about faces."""
