namespace Pakhouse.Server;

/// <summary>The program cannot start. The message tells the operator what to do, and is shown without a stack trace.</summary>
public sealed class StartupException(string message, Exception? inner = null) : Exception(message, inner);
