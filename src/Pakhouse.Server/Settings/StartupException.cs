namespace Pakhouse.Server;

/// <summary>The program cannot start, and the message says to the operator what to do. Shown without a stack trace.</summary>
public sealed class StartupException(string message, Exception? inner = null) : Exception(message, inner);
